"""The ``caffe`` command over the embedded engine: train, test, time, device_query."""

from __future__ import annotations

import argparse
import re
import signal
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch

from scratchdet_caffe import __version__, glog
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_net, read_solver
from scratchdet_caffe.cli import Parser, run
from scratchdet_caffe.engine.net import Net as EngineNet
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.pycaffe import mode
from scratchdet_caffe.pycaffe.logs import LOG, log_to_stderr
from scratchdet_caffe.pycaffe.net import Net
from scratchdet_caffe.pycaffe.solver import Solver
from scratchdet_caffe.pycaffe.timing import LayerTimer
from scratchdet_caffe.torchrun import is_first, joined, local_rank, local_world, started
from scratchdet_caffe.training.company import Company
from scratchdet_caffe.training.run import Run
from scratchdet_caffe.training.signals import EFFECTS, Signals


def _choose_device(gpu: str, fallback: int | None = None) -> None:
    """Compute on the GPU that ``-gpu`` names, on ``fallback``, or on the CPU."""
    if started() and gpu:
        chosen = gpu.split(",") if gpu != "all" else list(map(str, range(local_world())))
        if local_rank() >= len(chosen):
            raise UserError(f"-gpu {gpu} names {len(chosen)} GPUs for {local_world()} processes")
        gpu = chosen[local_rank()]
    if gpu == "all" and torch.cuda.device_count() == 1:
        gpu = "0"
    if "," in gpu or gpu == "all":
        raise UserError(f"-gpu {gpu}: one GPU per process; start several through torchrun")
    if gpu and not gpu.isdigit():
        raise UserError(f"-gpu {gpu}: give the number of a GPU")
    if gpu or (fallback is not None and torch.cuda.is_available()):
        index = int(gpu or fallback or 0)
        mode.set_device(index)
        mode.set_mode_gpu()
        LOG.info(f"Using GPUs {index}")
    else:
        LOG.info("Use CPU.")


def _stages(args: argparse.Namespace) -> list[str]:
    return [stage for stage in args.stage.split(",") if stage]


def train(args: argparse.Namespace) -> int:
    """Train or finetune a model; see `training.signals` for what interrupts it."""
    if not args.solver:
        raise UserError("Need a solver definition to train: -solver FILE")
    if args.snapshot and args.weights:
        raise UserError("Give a snapshot to resume training or weights to finetune but not both.")
    param = read_solver(args.solver)
    if args.level:
        param.train_state.level = args.level
    param.train_state.stage.extend(_stages(args))
    on_gpu = param.solver_mode == pb.SolverParameter.GPU
    _choose_device(args.gpu, param.device_id if on_gpu else None)
    with joined(mode.device().type) as company:
        _train(args, param, company)
    LOG.info(glog.DONE)  # Caffe's command says so too, after its solver
    return 0


def _train(args: argparse.Namespace, param: pb.SolverParameter, company: Company) -> None:
    solver = Solver(param)
    if args.snapshot:
        LOG.info(glog.resuming(args.snapshot))
        solver.restore(args.snapshot)
    for weights in filter(None, args.weights.split(",")):
        LOG.info(glog.finetuning(weights))
        for net in (solver.net, *solver.test_nets):
            net.copy_from(weights)
    # Caffe's own rule for SIGINT and SIGHUP; of SIGTERM it dies.
    Run(
        solver,
        param,
        signals=Signals(args.sigint_effect, args.sighup_effect, patient=started()),
        company=company,
        saves=lambda number: param.snapshot_after_train or number == signal.SIGTERM,
    ).go()


def test(args: argparse.Namespace) -> int:
    """Score a model over some batches."""
    if not args.model:
        raise UserError("Need a model definition to score: -model FILE")
    if not args.weights:
        raise UserError("Need model weights to score: -weights FILE")
    _choose_device(args.gpu)
    net = Net(args.model, pb.TEST, level=args.level, stages=_stages(args))
    for weights in filter(None, args.weights.split(",")):
        net.copy_from(weights)
    LOG.info(f"Running for {args.iterations} iterations.")
    weight_of = net.blob_loss_weights
    totals: dict[tuple[str, int], float] = {}
    loss = 0.0
    for batch in range(args.iterations):
        outputs = net.forward()
        for blob in net.outputs:
            for i, value in enumerate(outputs[blob].ravel().tolist()):
                totals[blob, i] = totals.get((blob, i), 0.0) + value
                loss += weight_of[blob] * value
                LOG.info(f"Batch {batch}, {blob} = {glog.number(value)}")
    LOG.info(f"Loss: {glog.number(loss / args.iterations)}")
    for (blob, _), total in totals.items():
        mean, weight = total / args.iterations, weight_of[blob]
        shown = f" (* {glog.number(weight)} = {glog.number(weight * mean)} loss)" if weight else ""
        LOG.info(f"{blob} = {glog.number(mean)}{shown}")
    return 0


def measure(args: argparse.Namespace) -> int:
    """Time a model, layer by layer."""
    if not args.model:
        raise UserError("Need a model definition to time: -model FILE")
    _choose_device(args.gpu)
    phase = pb.Phase.Value(args.phase) if args.phase else pb.TRAIN
    net = EngineNet(read_net(args.model), phase, args.level, _stages(args), mode.seed())
    net.to(mode.device())
    LOG.info("Performing Forward")
    # Once for everything that only the first pass does.
    loss = LayerTimer(net.channels_last()).run()
    LOG.info(f"Initial loss: {glog.number(loss)}")
    LOG.info("Performing Backward")
    LOG.info("*** Benchmark begins ***")
    LOG.info(f"Testing for {args.iterations} iterations.")
    timer = LayerTimer(net)
    began = time.perf_counter()
    for i in range(args.iterations):
        before = time.perf_counter()
        timer.run()
        took = time.perf_counter() - before
        LOG.info(f"Iteration: {i + 1} forward-backward time: {_ms(took)}")
    total = time.perf_counter() - began
    LOG.info("Average time per layer: ")
    times = timer.times
    for name, forward, backward in zip(times.names, times.forward, times.backward):
        LOG.info(f"{name:>10}\tforward: {_ms(forward / args.iterations)}")
        LOG.info(f"{name:>10}\tbackward: {_ms(backward / args.iterations)}")
    LOG.info(f"Average Forward pass: {_ms(sum(times.forward) / args.iterations)}")
    LOG.info(f"Average Backward pass: {_ms(sum(times.backward) / args.iterations)}")
    LOG.info(f"Average Forward-Backward: {_ms(total / args.iterations)}")
    LOG.info(f"Total Time: {_ms(total)}")
    LOG.info("*** Benchmark ends ***")
    return 0


def _ms(seconds: float) -> str:
    return f"{glog.number(1000 * seconds)} ms."


def device_query(args: argparse.Namespace) -> int:
    """Show what is known of the GPUs."""
    LOG.info(f"Querying GPUs {args.gpu or '0'}")
    count = torch.cuda.device_count()
    for name in range(count) if args.gpu == "all" else (args.gpu or "0").split(","):
        if not str(name).isdigit() or int(name) >= count:
            raise UserError(f"there is no GPU {name}: {count} CUDA devices are here")
        device = torch.cuda.get_device_properties(int(name))
        LOG.info(f"Device id:                     {name}")
        LOG.info(f"Major revision number:         {device.major}")
        LOG.info(f"Minor revision number:         {device.minor}")
        LOG.info(f"Name:                          {device.name}")
        LOG.info(f"Total global memory:           {device.total_memory}")
        LOG.info(f"Number of multiprocessors:     {device.multi_processor_count}")
    return 0


ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {
    "device_query": device_query,
    "test": test,
    "time": measure,
    "train": train,
}


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "pycaffe.caffe",
        "The caffe command. Flags may begin with one dash or two.\n\n"
        "  train         train or finetune a model\n"
        "  test          score a model\n"
        "  time          time a model, layer by layer\n"
        "  device_query  show the GPUs",
        "python -m scratchdet_caffe.pycaffe.caffe train -solver solver.prototxt",
    )
    parser.allow_abbrev = False

    def add(name: str, about: str, **how: object) -> None:
        options = {"default": "", "help": about, **how}
        parser.add_argument(f"-{name}", f"--{name}", **options)  # type: ignore[arg-type]

    parser.add_argument("action", metavar="COMMAND", help=", ".join(ACTIONS))
    add("solver", "the solver to train by", metavar="FILE")
    add("model", "the net to test or time", metavar="FILE")
    add("weights", "weights to start from, or to score", metavar="FILE[,FILE]")
    add("snapshot", "the state to resume from", metavar="FILE")
    add("gpu", "the GPU to use, instead of the CPU", metavar="N|all")
    add("iterations", "batches to test or time (default: 50)", metavar="N", type=int, default=50)
    add("phase", "time the net of this phase (default: TRAIN)", choices=("TRAIN", "TEST"))
    add("level", "level for the net's rules", metavar="N", type=int, default=0)
    add("stage", "stages for the net's rules", metavar="S[,S]")
    for name, effect in (("sigint", "stop"), ("sighup", "snapshot")):
        about = f"what {name.upper()} does (default: {effect})"
        add(f"{name}_effect", about, choices=EFFECTS, default=effect)
    add("log_dir", "write the log into a file there, too", metavar="DIR")
    add("minloglevel", "log from this severity on, 0 to 3", metavar="N")
    version = f"caffe version {__version__} (scratchdet-caffe)"
    parser.add_argument("-version", "--version", action="version", version=version)
    parser.add_argument("-help", action="help", help=argparse.SUPPRESS)
    return parser


# glog's switches that say to log on stderr, which this command always does.
_TO_STDERR = re.compile(r"--?(also|color)?logtostderr(=\w+)?")


def main(argv: list[str]) -> int:
    """Run the action that ``argv`` names.

    Raises:
        UserError: No such action, or flags that do not go together.
    """
    args = _parser().parse_args([word for word in argv if not _TO_STDERR.fullmatch(word)])
    if args.action not in ACTIONS:
        raise UserError(f"Unknown action: {args.action} (available: {', '.join(ACTIONS)})")
    if args.iterations < 1:
        raise UserError("-iterations must be at least 1")
    with log_to_stderr(args.log_dir, args.minloglevel) if is_first() else nullcontext():
        return ACTIONS[args.action](args)


def command() -> None:
    """Run as the installed command ``scratchdet-caffe``."""
    run("caffe", main)


if __name__ == "__main__":
    command()
