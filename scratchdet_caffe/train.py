"""Train a net from its solver prototxt, on either engine, through the pycaffe API.

The run writes Caffe's log beside its snapshots, shows progress on a terminal, stops with a
snapshot on SIGINT and SIGTERM, and goes on where it was with ``--resume``. Under torchrun several
processes train together.
"""

from __future__ import annotations

import argparse
import logging
import logging.handlers
import os
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from scratchdet_caffe.caffeproto import read_solver
from scratchdet_caffe.cli import Parser, run
from scratchdet_caffe.engines import (
    DEVICES,
    ENGINES,
    describe,
    load_engine,
    net_files,
    output_of,
)
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.torchrun import (
    BATCH_NORMS,
    LOSS_NORMS,
    is_first,
    joined,
    local_world,
    restarts,
    started,
)
from scratchdet_caffe.training.alarm import ACTIONS, Alarm
from scratchdet_caffe.training.company import Alone, Company

LOG = logging.getLogger("caffe")
PRECISIONS = ("float32", "tf32", "bf16")  # the engine's, without importing torch


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "train",
        "Train a net from its solver prototxt. Snapshots and train.log go where the solver's\n"
        "snapshot_prefix points.",
        "python -m scratchdet_caffe.train --solver models/.../solver.prototxt --resume",
    )
    parser.add_argument("--solver", required=True, type=Path, metavar="S")
    parser.add_argument("--engine", choices=ENGINES, default="torch", help="default: torch")
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="default: cpu")
    parser.add_argument("--snapshot", metavar="F", help="continue from this .solverstate")
    parser.add_argument("--weights", metavar="F[,F]", help="start from these .caffemodel files")
    parser.add_argument(
        "--resume", action="store_true", help="continue from the newest snapshot, if there is one"
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="CPU threads, 1 or more (default: all)"
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="bf16: mixed precision; tf32: faster float32 on GPUs (default: float32, where a GPU's "
        "convolutions may use TF32)",
    )
    parser.add_argument(
        "--trace-gradients",
        action="store_true",
        help="write loss and L2 norm of the gradient of every iteration to gradients.csv",
    )
    parser.add_argument(
        "--on-nan",
        choices=ACTIONS,
        default="stop",
        help="where loss or gradient is no number: stop (default, status 3), skip the update, or "
        "lower-lr, go back to the last snapshot with half the rate",
    )
    parser.add_argument(
        "--keep", type=int, metavar="N", help="keep the newest N snapshots only (default: all)"
    )
    parser.add_argument(
        "--batch-norm",
        choices=BATCH_NORMS,
        default="local",
        metavar="HOW",
        help="under torchrun: local, each process its own statistics (default, as in Caffe); "
        "broadcast, each with the running sums of the first; sync, one for all",
    )
    parser.add_argument(
        "--loss-norm",
        choices=LOSS_NORMS,
        default="local",
        metavar="HOW",
        help="under torchrun, what a loss with normalization VALID is divided by: local, each "
        "process by its own matches (default, as in Caffe); all, by the mean of all processes'",
    )
    parser.add_argument(
        "--events",
        nargs="?",
        type=Path,
        const=Path(),
        metavar="DIR",
        help="write event files for TensorBoard (default: the folder events beside the snapshots)",
    )
    parser.add_argument("--log", type=Path, metavar="F", help="default: train.log beside snapshots")
    data = parser.add_argument_group("data (the embedded engine's)")
    data.add_argument(
        "--data-threads", type=int, default=2, metavar="N", help="threads that make records (2)"
    )
    data.add_argument(
        "--data-workers",
        type=int,
        metavar="N",
        help="processes instead of threads (CPU: 0; GPU: as many as processors but one, up to 8)",
    )
    data.add_argument(
        "--on-bad",
        choices=("stop", "skip"),
        default="stop",
        help="at a corrupt record, or one that ends its process: stop, or skip it and count",
    )
    return parser


def main(argv: list[str]) -> int:
    """Run the command; return 3 if the training diverged, 128 + n after signal n."""
    args = _parser().parse_args(argv)
    if not args.solver.is_file():
        raise UserError(f"{args.solver}: no such solver (gen makes one)")
    if args.threads is not None and args.threads < 1:
        raise UserError(f"--threads must be at least 1, not {args.threads}")
    if args.precision and args.engine != "torch":
        raise UserError("--precision is the embedded engine's: leave it out with --engine caffe")
    if args.keep is not None and args.keep < 1:
        raise UserError(f"--keep must be at least 1, not {args.keep}")
    if args.engine == "caffe":
        if started():
            raise UserError("torchrun is for the embedded engine; real Caffe has its own -gpu 0,1")
        return train(args, Alone())
    with joined(args.device, args.batch_norm, args.loss_norm) as company:
        return train(args, company)


def _workers(device: str) -> int:
    """Return how many data workers keep ``device`` busy: a CPU has the net to compute."""
    share = (os.cpu_count() or 1) // local_world()
    return 0 if device == "cpu" else min(max(share - 1, 1), 8)


def train(args: argparse.Namespace, company: Company) -> int:
    """Run the solver to its end, or until a signal; return the exit status."""
    from scratchdet_caffe.training import Observer, Run, Signals
    from scratchdet_caffe.training.gradients import GradientTrace
    from scratchdet_caffe.training.keeping import Keeper, check_space
    from scratchdet_caffe.training.logs import logging_to
    from scratchdet_caffe.training.lowering import go_lowering, lowered_file, solver_to_use
    from scratchdet_caffe.training.memory import memory_errors_told
    from scratchdet_caffe.training.progress import shown_on_stderr
    from scratchdet_caffe.training.start import (
        Start,
        choose_start,
        folder_of_its_own,
        load_start,
        make_folder,
    )

    param = read_solver(args.solver)
    prefix, again = param.snapshot_prefix, restarts() > 0
    wishes = (args.snapshot, args.weights, args.resume, again)
    start = company.first_says(choose_start(prefix, *wishes) if is_first() else Start())
    file = company.first_says(solver_to_use(args.solver, prefix, start))
    with ExitStack() as held:
        output = held.enter_context(output_of(args.engine))
        caffe = load_engine(args.engine, device=args.device, nets=net_files(param))
        choose_computing(args, caffe)

        def solver_at(file: Path, start: Start) -> Any:
            with memory_errors_told("when the nets were built"):
                solver = caffe.get_solver(str(file))
                load_start(solver, start)
            return solver

        # What is said before the log may be opened waits: a start that fails leaves the folder,
        # with the log of an earlier run, as it was.
        with logging_to(waiting := logging.handlers.BufferingHandler(10_000)):
            if output:
                LOG.info(f"Engine: {describe(caffe)}")
                make_folder(prefix)  # SSD-Caffe ends the process where it is not there
            solver = solver_at(file, start)
            lines = list(waiting.buffer)
        company.most(0)  # every process has got so far
        observers: list[Observer] = [Alarm(args.on_nan)]
        heard = None
        if company.rank == 0:
            others, room = [lowered_file(prefix)], partial(check_space, solver, param, args.keep)
            folder = folder_of_its_own(prefix, args.log, start, solver.iter, again, others, room)
            log = held.enter_context(folder)
            shown, progress = shown_on_stderr()
            held.enter_context(logging_to(log, shown))
            show = progress[0].write if progress else None
            heard = output.carried(log.baseFilename, show) if output else None
            for line in lines:
                LOG.handle(line)
            trace: list[Observer] = [GradientTrace(prefix)] if args.trace_gradients else []
            if args.events is not None:
                from scratchdet_caffe.training.events import Events

                there = args.events if args.events.name else Path(prefix).parent / "events"
                trace.append(Events(Path(log.baseFilename), there))
            keeper = [Keeper(args.keep)] if args.keep else []
            observers = [*progress, *trace, *observers, *keeper]
        else:
            held.enter_context(logging_to(logging.NullHandler()))

        def run_of(solver: Any, file: Path) -> Run:
            signals = Signals(patient=started())
            return Run(solver, read_solver(file), observers, signals, company, heard=heard)

        run = run_of(solver, file)
        if args.on_nan != "lower-lr":
            return run.go()
        wished = Start(args.snapshot, start.weights, bool(args.snapshot))
        return go_lowering(run, wished, lambda file, start: run_of(solver_at(file, start), file))


def choose_computing(args: argparse.Namespace, caffe: Any) -> None:
    """Set precision, threads and data workers of the embedded engine."""
    if args.engine != "torch":
        return
    workers = _workers(args.device) if args.data_workers is None else args.data_workers
    caffe.set_data_loading(args.data_threads, workers, args.on_bad)
    if args.precision:
        caffe.set_precision(args.precision)
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)


if __name__ == "__main__":
    run("train", main)
