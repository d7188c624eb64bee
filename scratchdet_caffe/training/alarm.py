"""The alarm for a loss that is lost."""

from __future__ import annotations

import logging
import math

from scratchdet_caffe import glog
from scratchdet_caffe.snapshots import set_apart
from scratchdet_caffe.training.observer import Observer
from scratchdet_caffe.training.run import Diverged, Run

LOG = logging.getLogger("caffe")


class Alarm(Observer):
    """Ends the run at the first loss that is not finite, before it spoils the weights for good."""

    def gradients_ready(self, run: Run) -> None:
        """Look at the loss of this iteration.

        Raises:
            Diverged: It is not finite.
        """
        if math.isfinite(run.loss):
            return
        LOG.error(f"Iteration {run.iteration}, loss = {glog.number(run.loss)}: diverged")
        spoilt = set_apart(run.param.snapshot_prefix, run.iteration)
        raise Diverged(
            f"the loss is {run.loss} at iteration {run.iteration}: the run diverged. "
            + (
                f"The snapshot that already holds the spoilt weights is now {spoilt}. "
                * bool(spoilt)
            )
            + "Try a lower base_lr, or BatchNorm."
        )
