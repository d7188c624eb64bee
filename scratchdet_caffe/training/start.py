"""Where a run starts: from nothing, from weights, or from a snapshot; and in which folder."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from scratchdet_caffe import glog
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.snapshots import move_aside, newest_complete, remove_unfinished
from scratchdet_caffe.training.logs import open_log
from scratchdet_caffe.training.run import say

LOG = logging.getLogger("caffe")


@dataclass(frozen=True)
class Start:
    """Where a run starts.

    Attributes:
        state: The ``.solverstate`` to go on from, or None.
        weights: The ``.caffemodel`` files to begin with.
        asked_for: Whether somebody named that state; else it is the newest.
    """

    state: str | None = None
    weights: tuple[str, ...] = ()
    asked_for: bool = False


def choose_start(
    prefix: str,
    snapshot: str | None = None,
    weights: str | None = None,
    resume: bool = False,
    again: bool = False,
) -> Start:
    """Return where to start; ``resume`` may have ``weights`` beside it, for the first start.

    Args:
        prefix: The solver's ``snapshot_prefix``.
        snapshot: A ``.solverstate`` to go on from.
        weights: ``.caffemodel`` files, with commas between.
        resume: Go on from the newest complete snapshot, if there is one.
        again: The run was begun before, and something ended it: the newest complete snapshot, if
            there is one, comes before all wishes.

    Raises:
        UserError: Contradictory wishes, or the file named is not there.
    """
    if weights and not all(weights.split(",")):
        raise UserError(f"--weights '{weights}' names an empty file: give F or F,F")
    if snapshot and (weights or resume):
        raise UserError("give only one of --snapshot, and --weights or --resume")
    files = tuple(weights.split(",")) if weights else ()
    if resume or again:
        state, passed_over = newest_complete(prefix)
        for reason in passed_over:
            say(f"passed over: {reason}")
        if state is not None:
            return Start(str(state))
    if snapshot and not Path(snapshot).is_file():
        raise UserError(f"{snapshot}: no such snapshot")
    return Start(snapshot, files, bool(snapshot))


def load_start(solver: Any, start: Start) -> None:
    """Bring ``solver`` to where the run starts.

    Raises:
        UserError: A file is not what it should be, or of another net.
    """
    if start.state is not None:
        LOG.info(glog.resuming(start.state))
        solver.restore(start.state)
    for file in start.weights:
        if ".solverstate" in Path(file).name:
            raise UserError(f"{file}: a .solverstate goes to --snapshot, not to --weights")
        LOG.info(glog.finetuning(file))
        solver.net.copy_from(file)


def make_folder(prefix: str) -> Path:
    """Make the folder of the snapshots, if it is not there, and return it.

    Raises:
        UserError: It cannot be made.
    """
    folder = Path(prefix).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot write snapshots there: {error.strerror}") from error
    return folder


@contextmanager
def folder_of_its_own(
    prefix: str,
    log: Path | None,
    start: Start,
    iteration: int,
    again: bool = False,
    others: Iterable[Path] = (),
    check: Callable[[], None] = lambda: None,
) -> Iterator[logging.FileHandler]:
    """Make the folder of the snapshots this run's, and yield the open log.

    A run from the start moves an earlier run's snapshots and log aside; one that goes on from an
    older snapshot does so with the newer ones: nothing is lost, and nobody takes the old for the
    new.

    Args:
        prefix: The solver's ``snapshot_prefix``.
        log: The log; by default ``train.log`` in the folder.
        start: Where the run starts.
        iteration: The iteration of that.
        again: The run was begun before: its log goes on.
        others: Further files that belong to an earlier run.
        check: Raises what speaks against the run, before anything of an earlier one is touched.

    Raises:
        UserError: The folder or the log cannot be written, or another run is writing there.
    """
    folder, stem = make_folder(prefix), Path(prefix).name
    file = log or folder / "train.log"
    with ExitStack() as held:
        try:
            lock = held.enter_context(open(folder / f".{stem}.lock", "a"))
            if not _is_free(lock):
                raise UserError(f"{prefix}: another training is writing snapshots there")
            remove_unfinished(prefix)
            check()
            aside = None
            if start.state is None and not again:
                aside = move_aside(prefix, file, *others)
            elif start.asked_for:
                aside = move_aside(prefix, after=iteration)
        except OSError as error:
            raise UserError(f"{folder}: cannot write snapshots there: {error.strerror}") from error
        if aside:
            say(f"an earlier run's snapshots are now in {aside}")
        yield open_log(file, append=start.state is not None or again)


def _is_free(lock: IO[str]) -> bool:
    """Whether no other process holds ``lock``; this one holds it then, until it ends."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
