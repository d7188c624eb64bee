"""The alarm for a loss or a gradient that is no number any more, and what is done about it."""

from __future__ import annotations

import logging
import math
from typing import Any

from scratchdet_caffe import glog
from scratchdet_caffe.snapshots import set_apart
from scratchdet_caffe.training.culprit import find_culprit, find_spoilt_blob
from scratchdet_caffe.training.gradients import gradient_norm
from scratchdet_caffe.training.observer import Observer
from scratchdet_caffe.training.run import EXIT_DIVERGED, Diverged, Run, say

ACTIONS = ("stop", "skip", "lower-lr")
#: So many iterations in a row may be skipped; more are no accident of one batch.
MOST_SKIPPED = 10
LOG = logging.getLogger("caffe")
_ADVICE = "Try a lower base_lr, or BatchNorm."


class Alarm(Observer):
    """Looks at loss and gradient of every iteration, before they can spoil the weights.

    Where they are not finite it names the first layer with such a number and the records of the
    batch. Then the run ends as diverged; with "skip" it leaves the update out and goes on, as
    long as the weights themselves are sound. ("lower-lr" ends it, too: who started it starts it
    again, see `lowering`.)
    """

    def __init__(self, action: str = "stop") -> None:
        self.action = action
        self._in_a_row = 0
        self._statistics: list[tuple[Any, Any]] = []

    def before_iteration(self, run: Run) -> None:
        """Keep BatchNorm's sums, which a pass moves before anybody knows what it gives."""
        if self.action == "skip":
            self._statistics = [(blob, blob.data.copy()) for blob in _statistics(run.solver.net)]

    def gradients_ready(self, run: Run) -> None:
        """Look at this iteration.

        Raises:
            Diverged: Its loss or its gradient is not finite, and it is not to be skipped.
        """
        what = "loss" if not math.isfinite(run.loss) else "gradient"
        value = run.loss if what == "loss" else _norm(run)
        if math.isfinite(value):
            self._in_a_row = 0
            if _due(run) and (blob := find_spoilt_blob(run.solver)):
                raise Diverged(_lost(run, blob))
            return
        shown = f"Iteration {run.iteration}, {what} = {glog.number(value)}"
        # Every process looks at its own batch.
        found = {rank: f for rank, f in enumerate(run.company.all_say(find_culprit(run))) if f}
        first, culprit = "a second pass over the batch gives finite numbers", None
        if found:
            culprit = found[min(found)]
            first = f"process {min(found)}: " * (run.company.world > 1) + culprit.sentence
        self._in_a_row += 1
        sound = not any(f.in_weights for f in found.values())
        if self.action == "skip" and sound and self._in_a_row <= MOST_SKIPPED:
            LOG.warning(f"{shown}: update skipped; {first}")
            self._skip(run)
            return
        LOG.error(f"{shown}: diverged; {first}")
        # A snapshot of this iteration has finite weights, else it had not been written. That they
        # are of no use shows where a pass with them and nothing else made the number, or where the
        # gradient's values are finite and yet too large to be squared.
        spoilt = None
        of_weights = what == "gradient"
        if culprit:
            of_weights = not (culprit.in_weights or culprit.given)
        if of_weights and run.company.rank == 0:
            spoilt = set_apart(run.param.snapshot_prefix, run.iteration)
        raise Diverged(
            f"the {what} is {glog.number(value)} at iteration {run.iteration}: the run diverged; "
            f"{first}. "
            + f"The snapshot that already holds the spoilt weights is now {spoilt}. " * bool(spoilt)
            + ("Look at these records." if culprit and culprit.given else _ADVICE)
        )

    def at_end(self, run: Run) -> None:
        """Look at what the last update left."""
        if run.status == 0 and (blob := find_spoilt_blob(run.solver)):
            say(_lost(run, blob))
            run.status = EXIT_DIVERGED

    def _skip(self, run: Run) -> None:
        for blob, data in self._statistics:
            blob.data[...] = data
        if hasattr(run.solver, "skip_update"):
            run.solver.skip_update()
            return
        # SSD-Caffe makes its update in any case: at least it gets nothing of this batch.
        for blobs in run.solver.net.params.values():
            for blob in blobs:
                blob.diff[...] = 0


def _norm(run: Run) -> float:
    """The gradient's size, where it costs little; else only before a snapshot is written."""
    if hasattr(run.solver, "gradient_norm") or _due(run):
        return gradient_norm(run.solver)
    return 0.0


def _due(run: Run) -> bool:
    """Whether a snapshot follows this iteration."""
    done, period = run.iteration + 1, run.param.snapshot
    return done == run.max_iter or (bool(period) and done % period == 0)


def _lost(run: Run, blob: str) -> str:
    """Log that ``blob`` is lost, and return the sentence for the user.

    BatchNorm's sums can be lost while the loss, which needs only the batch's, is finite.
    """
    LOG.error(f"Iteration {run.iteration}, {blob}: diverged")
    return (
        f"{blob} at iteration {run.iteration}: the run diverged, though its loss is "
        f"{glog.number(run.loss)}; such weights get no snapshot. Try a lower base_lr."
    )


def _statistics(net: Any) -> list[Any]:
    return [blob for layer in net.layers if layer.type == "BatchNorm" for blob in layer.blobs]
