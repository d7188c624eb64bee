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
from pathlib import Path

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
from scratchdet_caffe.torchrun import is_first, joined, local_world, restarts, started
from scratchdet_caffe.training.company import Alone, Company

BATCH_NORMS = ("local", "broadcast", "sync")
LOG = logging.getLogger("caffe")


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
        "--trace-gradients",
        action="store_true",
        help="write loss and L2 norm of the gradient of every iteration to gradients.csv",
    )
    parser.add_argument(
        "--batch-norm",
        choices=BATCH_NORMS,
        default="local",
        metavar="HOW",
        help="under torchrun: local, each process its own statistics (default, as in Caffe); "
        "broadcast, each with the running sums of the first; sync, one for all",
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
    if args.engine == "caffe":
        if started():
            raise UserError("torchrun is for the embedded engine; real Caffe has its own -gpu 0,1")
        return train(args, Alone())
    with joined(args.device, args.batch_norm) as company:
        return train(args, company)


def _workers(device: str) -> int:
    """Return how many data workers keep ``device`` busy: a CPU has the net to compute."""
    share = (os.cpu_count() or 1) // local_world()
    return 0 if device == "cpu" else min(max(share - 1, 1), 8)


def train(args: argparse.Namespace, company: Company) -> int:
    """Run the solver to its end, or until a signal; return the exit status."""
    from scratchdet_caffe.training import Run, Signals
    from scratchdet_caffe.training.alarm import Alarm
    from scratchdet_caffe.training.gradients import GradientTrace
    from scratchdet_caffe.training.logs import logging_to
    from scratchdet_caffe.training.progress import shown_on_stderr
    from scratchdet_caffe.training.start import Start, choose_start, folder_of_its_own, load_start

    param = read_solver(args.solver)
    prefix, again = param.snapshot_prefix, restarts() > 0
    wishes = (args.snapshot, args.weights, args.resume, again)
    start = company.first_says(choose_start(prefix, *wishes) if is_first() else Start())
    with output_of(args.engine) as output:
        caffe = load_engine(args.engine, device=args.device, nets=net_files(param))
        if args.engine == "torch":
            workers = _workers(args.device) if args.data_workers is None else args.data_workers
            caffe.set_data_loading(args.data_threads, workers, args.on_bad)
        if args.threads and args.engine == "torch":
            import torch

            torch.set_num_threads(args.threads)
        # What is said before the log may be opened waits: a start that fails leaves the folder,
        # with the log of an earlier run, as it was.
        with logging_to(waiting := logging.handlers.BufferingHandler(10_000)):
            if output:
                LOG.info(f"Engine: {describe(caffe)}")
            solver = caffe.get_solver(str(args.solver))
            load_start(solver, start)
            lines = list(waiting.buffer)
        company.most(0)  # every process has got so far
        if company.rank:
            with logging_to(logging.NullHandler()):
                return Run(solver, param, [Alarm()], Signals(patient=True), company).go()
        with folder_of_its_own(prefix, args.log, start, solver.iter, again) as log:
            shown, progress = shown_on_stderr()
            with logging_to(log, shown):
                show = progress[0].write if progress else None
                heard = output.carried(log.baseFilename, show) if output else None
                for line in lines:
                    LOG.handle(line)
                trace = [GradientTrace(prefix)] if args.trace_gradients else []
                observers, signals = [*progress, *trace, Alarm()], Signals(patient=started())
                return Run(solver, param, observers, signals, company, heard=heard).go()


if __name__ == "__main__":
    run("train", main)
