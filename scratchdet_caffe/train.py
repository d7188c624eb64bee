"""Train a net from its solver prototxt, on either engine, through the pycaffe API.

The run writes Caffe's log beside its snapshots, shows progress on a terminal, stops with a
snapshot on SIGINT and SIGTERM, and goes on where it was with ``--resume``.
"""

from __future__ import annotations

import argparse
import logging
import logging.handlers
import math
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from scratchdet_caffe import glog
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_solver
from scratchdet_caffe.cli import Parser, run
from scratchdet_caffe.engines import DEVICES, ENGINES, load_engine
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.snapshots import move_aside, newest_complete, set_apart

EXIT_DIVERGED = 3
LOG = logging.getLogger("caffe")


class Stopped(Exception):
    """A signal asked for the end of the run."""


class Diverged(Exception):
    """The loss is no number any more."""


class Watch:
    """What happens between iterations: progress, signals, and the alarm for a lost loss.

    Called back by the solver before each iteration and before each update.
    """

    def __init__(self, solver: Any, max_iter: int) -> None:
        self.solver, self.max_iter = solver, max_iter
        self.stop: int | None = None
        self.snapshot = False
        self.losses = [blob for blob, w in solver.net.blob_loss_weights.items() if w]
        self.advance: Callable[[int, float], None] = lambda iteration, loss: None
        self.loss = math.nan

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """SIGHUP asks for a snapshot, others for the end; a second one ends at once."""
        if number == signal.SIGHUP:
            self.snapshot = True
            return
        if self.stop is not None:
            raise KeyboardInterrupt
        self.stop = number

    def on_start(self) -> None:
        """Before an iteration: do what signals asked for."""
        self.advance(self.solver.iter, self.loss)
        if self.snapshot:
            self.snapshot = False
            self.solver.snapshot()
        if self.stop is not None:
            raise Stopped

    def on_gradients_ready(self) -> None:
        """Before an update: a loss that is not finite would spoil the weights for good."""
        self.loss = sum(float(self.solver.net.blobs[blob].data.sum()) for blob in self.losses)
        if not math.isfinite(self.loss):
            raise Diverged


@contextmanager
def signals_to(watch: Watch) -> Iterator[None]:
    """Deliver SIGINT, SIGTERM and SIGHUP to ``watch`` for the duration."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, watch.on_signal) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before):
            signal.signal(number, handler)


@contextmanager
def progress_of(watch: Watch) -> Iterator[Any]:
    """Show a progress bar on a terminal; yield what prints log lines beside it, or None."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress as bars
    from rich.console import Console

    console = Console(stderr=True)
    columns = (
        bars.TextColumn("iteration {task.completed:.0f}/{task.total:.0f}"),
        bars.BarColumn(None),
        bars.TextColumn("loss {task.fields[loss]}"),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=console) as progress:
        task = progress.add_task("train", total=watch.max_iter, loss="-")

        def advance(iteration: int, loss: float) -> None:
            shown = "-" if math.isnan(loss) else f"{loss:.3f}"
            progress.update(task, completed=iteration, loss=shown)

        watch.advance = advance
        yield lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True)


class _Printer(logging.Handler):
    """Prints log lines above a progress bar."""

    def __init__(self, write: Any) -> None:
        super().__init__()
        self.write = write

    def emit(self, record: logging.LogRecord) -> None:
        self.write(self.format(record))


def open_log(file: Path, append: bool) -> logging.Handler:
    """Return a handler that writes Caffe's log to ``file``."""
    try:
        return logging.FileHandler(file, "a" if append else "w", "utf-8")
    except OSError as error:
        raise UserError(f"{file}: cannot write the log: {error.strerror}") from error


@contextmanager
def logging_to(*handlers: logging.Handler) -> Iterator[None]:
    """Send Caffe's log lines to ``handlers`` for the duration."""
    LOG.setLevel(logging.INFO)
    for handler in handlers:
        handler.setFormatter(glog.GlogFormatter())
        LOG.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            LOG.removeHandler(handler)
            handler.close()


def choose_start(args: argparse.Namespace, param: pb.SolverParameter) -> str | None:
    """Return the state file to continue from, if any.

    Raises:
        UserError: Contradictory arguments, or the file named is not there.
    """
    if args.threads is not None and args.threads < 1:
        raise UserError(f"--threads must be at least 1, not {args.threads}")
    if args.weights and not all(args.weights.split(",")):
        raise UserError(f"--weights '{args.weights}' names an empty file: give F or F,F")
    if sum(map(bool, (args.snapshot, args.weights, args.resume))) > 1:
        raise UserError("give only one of --snapshot, --weights and --resume")
    if args.resume:
        state, passed_over = newest_complete(param.snapshot_prefix)
        for reason in passed_over:
            print(f"train: passed over: {reason}", file=sys.stderr)
        return None if state is None else str(state)
    if args.snapshot and not Path(args.snapshot).is_file():
        raise UserError(f"{args.snapshot}: no such snapshot")
    return str(args.snapshot) if args.snapshot else None


def prepare_folder(
    args: argparse.Namespace, param: pb.SolverParameter, start: str | None
) -> logging.Handler:
    """Make the folder of the snapshots ready and open the log in it.

    A run from the start moves an earlier run's snapshots and log aside: nothing is lost, and
    nobody takes the old for the new.

    Raises:
        UserError: The folder or the log cannot be written.
    """
    folder = Path(param.snapshot_prefix).parent
    file = args.log or folder / "train.log"
    probe = folder / ".tempfile"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
        aside = move_aside(param.snapshot_prefix, file) if start is None else None
    except OSError as error:
        raise UserError(f"{folder}: cannot write snapshots there: {error.strerror}") from error
    if aside:
        print(f"train: an earlier run's snapshots are now in {aside}", file=sys.stderr)
    return open_log(file, append=start is not None)


def train(args: argparse.Namespace, param: pb.SolverParameter) -> int:
    """Run the solver to its end, or until a signal; return the exit status."""
    start = choose_start(args, param)
    caffe = load_engine(args.engine, device=args.device)
    if args.threads and args.engine == "torch":
        import torch

        torch.set_num_threads(args.threads)
    # What is said before the log may be opened waits: a start that fails leaves the folder, with
    # the log of an earlier run, as it was.
    with logging_to(waiting := logging.handlers.BufferingHandler(10_000)):
        solver = caffe.get_solver(str(args.solver))
        load_start(solver, start, args.weights)
        log = prepare_folder(args, param, start)
        lines = list(waiting.buffer)
    watch = Watch(solver, param.max_iter)
    solver.add_callback(watch.on_start, watch.on_gradients_ready)
    with signals_to(watch), progress_of(watch) as write:
        shown = _Printer(write) if write else logging.StreamHandler()
        with logging_to(log, shown):
            for line in lines:
                LOG.handle(line)
            return _run(solver, watch, param)


def load_start(solver: Any, start: str | None, weights: str | None) -> None:
    """Continue from the state file ``start``, or begin with the ``weights`` files."""
    if start is not None:
        LOG.info(glog.resuming(start))
        solver.restore(start)
    for file in weights.split(",") if weights else ():
        if ".solverstate" in Path(file).name:
            raise UserError(f"{file}: a .solverstate goes to --snapshot, not to --weights")
        LOG.info(glog.finetuning(file))
        solver.net.copy_from(file)


def _run(solver: Any, watch: Watch, param: pb.SolverParameter) -> int:
    if solver.iter >= param.max_iter:
        print(
            f"train: at iteration {solver.iter} of {param.max_iter} already: nothing to train",
            file=sys.stderr,
        )
    LOG.info(glog.STARTING)
    try:
        solver.solve()
        watch.advance(solver.iter, watch.loss)
    except Stopped:
        number = signal.Signals(watch.stop or signal.SIGINT)
        print(f"train: {number.name}: writing a snapshot and stopping", file=sys.stderr)
        solver.snapshot()
        LOG.info(glog.STOPPED_EARLY)
        return 128 + number
    except Diverged:
        LOG.error(f"Iteration {solver.iter}, loss = {glog.number(watch.loss)}: diverged")
        spoilt = set_apart(param.snapshot_prefix, solver.iter)
        print(
            f"train: the loss is {watch.loss} at iteration {solver.iter}: the run diverged. "
            + (
                f"The snapshot that already holds the spoilt weights is now {spoilt}. "
                * bool(spoilt)
            )
            + "Try a lower base_lr, or BatchNorm.",
            file=sys.stderr,
        )
        return EXIT_DIVERGED
    return 0


def main(argv: list[str]) -> int:
    """Run the command; return 3 if the training diverged, 128 + n after signal n."""
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
    parser.add_argument("--log", type=Path, metavar="F", help="default: train.log beside snapshots")
    args = parser.parse_args(argv)
    if not args.solver.is_file():
        raise UserError(f"{args.solver}: no such solver (gen makes one)")
    return train(args, read_solver(args.solver))


if __name__ == "__main__":
    run("train", main)
