"""The nets kept under ``models/``: a test renders each again and compares (``gen --check``)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from scratchdet_caffe.experiment.job import Job
from scratchdet_caffe.experiment.plan import plan


@dataclass(frozen=True)
class Entry:
    """A job of `PUBLISHED`, in the words that ``gen`` takes."""

    arch: str
    dataset: str
    recipe: str

    def job(self, out: str = "models") -> Job:
        """Return the job, rendered below ``out``."""
        return plan(self.arch, self.dataset, self.recipe, out=out)


PUBLISHED: tuple[Entry, ...] = tuple(
    Entry(*words)
    for words in itertools.product(
        ("root_resnet34", "root_resnet18"), ("voc0712", "coco"), ("release-caffe", "paper")
    )
)
