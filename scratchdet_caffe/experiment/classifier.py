"""A classifier on a backbone: the training that pretrained detectors begin with.

The backbone is a job's own, up to its last stage: what the classifier learns loads by layer name.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from scratchdet_caffe.experiment.body import Body
from scratchdet_caffe.experiment.job import Job


@dataclass(frozen=True)
class Classifier:
    """What is trained before a detector.

    Attributes:
        job: A detector with the backbone that is trained here.
        folder: Where its files go.
        crops: Folder with ``train.txt``, ``test.txt`` and the pictures they name.
        classes: Number of classes.
        tests: Number of pictures to test on.
        size: Side of the square input, pixels.
        batch: Pictures per iteration, in testing too.
        base_lr: Learning rate, divided by 10 after two thirds of the iterations.
        max_iter: Iterations.
        seed: Of initial weights and the order of the pictures.
    """

    job: Job
    folder: str
    crops: str
    classes: int
    tests: int
    size: int
    batch: int
    base_lr: float
    max_iter: int
    seed: int = 1

    @property
    def net_name(self) -> str:
        return f"{self.job.arch.name}_classifier"

    @property
    def snapshot_prefix(self) -> str:
        return f"{self.folder}/{self.net_name}"

    @property
    def weights(self) -> Path:
        """The weights that it ends with."""
        return Path(f"{self.snapshot_prefix}_iter_{self.max_iter}.caffemodel")

    @property
    def test_iter(self) -> int:
        """Batches that see every test picture; the last one begins again with the first."""
        return -(-self.tests // self.batch)

    @property
    def body(self) -> Body:
        """The levels that the arch itself has, without those of a detector."""
        levels = self.job.body.levels
        last = "fc" if self.job.arch.fc else self.job.arch.stages[-1].name
        end = [level.name for level in levels].index(last) + 1
        return dataclasses.replace(self.job.body, levels=levels[:end], sources=())
