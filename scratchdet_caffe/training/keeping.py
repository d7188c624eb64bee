"""Room for snapshots: how many are kept, and whether the disk holds what a run will write."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.snapshots import keep_newest, newest_complete, numbered_snapshots
from scratchdet_caffe.training.observer import Observer
from scratchdet_caffe.training.run import Run

_SLOTS = {"AdaDelta": 2, "Adam": 2}  # blobs of history for each parameter; others have one


class Keeper(Observer):
    """Removes snapshots that are older than the newest ``count``."""

    def __init__(self, count: int) -> None:
        self.count = count

    def before_iteration(self, run: Run) -> None:
        """Look at the snapshots when the solver has just written one."""
        if run.param.snapshot and run.iteration % run.param.snapshot == 0:
            self.tidy(run)

    def at_end(self, run: Run) -> None:
        """Look at them a last time."""
        self.tidy(run)

    def tidy(self, run: Run) -> None:
        """Remove what is too old, if the newest snapshot is sound."""
        prefix = run.param.snapshot_prefix
        states = numbered_snapshots(prefix)
        if len(states) > self.count and newest_complete(prefix)[0] == states[-1][1]:
            keep_newest(prefix, self.count)


def check_space(solver: Any, param: pb.SolverParameter, keep: int | None) -> None:
    """Check that the disk holds the snapshots that are to be written.

    Args:
        solver: The solver, its starting point loaded.
        param: What it was made from.
        keep: How many snapshots are kept; None is all.

    Raises:
        UserError: It does not: how many there will be, and how large.
    """
    folder = Path(param.snapshot_prefix).parent
    left = max(param.max_iter - solver.iter, 0)
    count = left // param.snapshot if param.snapshot else 0
    if param.snapshot_after_train and (not param.snapshot or param.max_iter % param.snapshot):
        count += 1
    if keep is not None:
        count = min(count, keep + 1)  # an old one goes when the new one is there
    need, free = count * snapshot_bytes(solver, param), shutil.disk_usage(folder).free
    if need > free:
        raise UserError(
            f"{folder}: the {count} snapshots of this run take {_size(need)}, but {_size(free)} "
            "are free there: make room, keep fewer (--keep N), or write fewer (the solver's "
            "snapshot)"
        )


def snapshot_bytes(solver: Any, param: pb.SolverParameter) -> int:
    """Return about how large the files of one snapshot are together."""
    shown = {id(blob): blob for blobs in solver.net.params.values() for blob in blobs}
    values = sum(int(blob.count) for blob in shown.values())
    copies = (2 if param.snapshot_diff else 1) + _SLOTS.get(param.type, 1)
    return 4 * values * copies + 100_000


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
