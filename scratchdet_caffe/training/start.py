"""Where a run starts: from nothing, from weights, or from a snapshot; and in which folder."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchdet_caffe import glog
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.snapshots import move_aside, newest_complete
from scratchdet_caffe.training.logs import open_log
from scratchdet_caffe.training.run import say

LOG = logging.getLogger("caffe")


@dataclass(frozen=True)
class Start:
    """Where a run starts.

    Attributes:
        state: The ``.solverstate`` to go on from, or None.
        weights: The ``.caffemodel`` files to begin with.
    """

    state: str | None = None
    weights: tuple[str, ...] = ()


def choose_start(
    prefix: str, snapshot: str | None = None, weights: str | None = None, resume: bool = False
) -> Start:
    """Return where to start; ``resume`` may have ``weights`` beside it, for the first start.

    Args:
        prefix: The solver's ``snapshot_prefix``.
        snapshot: A ``.solverstate`` to go on from.
        weights: ``.caffemodel`` files, with commas between.
        resume: Go on from the newest complete snapshot, if there is one.

    Raises:
        UserError: Contradictory wishes, or the file named is not there.
    """
    if weights and not all(weights.split(",")):
        raise UserError(f"--weights '{weights}' names an empty file: give F or F,F")
    if snapshot and (weights or resume):
        raise UserError("give only one of --snapshot, and --weights or --resume")
    files = tuple(weights.split(",")) if weights else ()
    if resume:
        state, passed_over = newest_complete(prefix)
        for reason in passed_over:
            say(f"passed over: {reason}")
        return Start(None, files) if state is None else Start(str(state))
    if snapshot and not Path(snapshot).is_file():
        raise UserError(f"{snapshot}: no such snapshot")
    return Start(snapshot, files)


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


def prepare_folder(prefix: str, log: Path | None, start: Start) -> logging.FileHandler:
    """Make the folder of the snapshots ready and open the log, by default ``train.log`` in it.

    A run from the start moves an earlier run's snapshots and log aside: nothing is lost, and
    nobody takes the old for the new.

    Raises:
        UserError: The folder or the log cannot be written.
    """
    folder = make_folder(prefix)
    file = log or folder / "train.log"
    probe = folder / ".tempfile"
    try:
        probe.write_bytes(b"")
        probe.unlink()
        aside = move_aside(prefix, file) if start.state is None else None
    except OSError as error:
        raise UserError(f"{folder}: cannot write snapshots there: {error.strerror}") from error
    if aside:
        say(f"an earlier run's snapshots are now in {aside}")
    return open_log(file, append=start.state is not None)
