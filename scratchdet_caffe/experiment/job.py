"""A job: one arch, dataset, recipe and size, and everything that follows from them."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from scratchdet_caffe.experiment.archs import Arch
from scratchdet_caffe.experiment.blocks import scaled
from scratchdet_caffe.experiment.body import Body
from scratchdet_caffe.experiment.datasets import Dataset
from scratchdet_caffe.experiment.heads import Head
from scratchdet_caffe.experiment.layout import make_body
from scratchdet_caffe.experiment.recipe import Recipe
from scratchdet_caffe.experiment.sources import Refined, Source, make_refined, make_sources


@dataclass(frozen=True)
class Job:
    """What ``gen`` renders. Fields are given, properties follow; see `plan.plan`.

    Attributes:
        arch: The backbone.
        head: The detection head.
        dataset: What to train and test on.
        recipe: All other choices, settled and overridden.
        out: The folder over all jobs.
        name: The job's own folder.
        asked: What the user asked for, word for word, for the record.
    """

    arch: Arch
    head: Head
    dataset: Dataset
    recipe: Recipe
    out: str
    name: str
    asked: dict[str, Any]

    @property
    def folder(self) -> str:
        return (Path(self.out) / self.arch.name / self.dataset.name / self.name).as_posix()

    @property
    def net_name(self) -> str:
        return f"{self.arch.name}_{self.dataset.name}_{self.name}"

    @property
    def snapshot_prefix(self) -> str:
        return f"{self.folder}/{self.net_name}"

    @property
    def results_folder(self) -> str:
        return f"{self.folder}/results"

    @property
    def saves_output(self) -> bool:
        return self.recipe.detection.save_output and bool(self.dataset.results_format)

    @property
    def results_prefix(self) -> str:
        return self.dataset.results_prefix.format(size=self.recipe.size)

    @cached_property
    def body(self) -> Body:
        recipe = self.recipe
        return make_body(self.arch, recipe.size, recipe.backbone, recipe.pyramid)

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """The maps that are predicted from, finest first."""
        return make_sources(self.body.sources, self.recipe)

    @cached_property
    def refined(self) -> tuple[Refined, ...]:
        """The maps that a head like RefineDet's makes of the sources, finest first."""
        return make_refined(self.sources, self.recipe) if self.head.refines else ()

    @property
    def tcb_channels(self) -> int:
        return scaled(self.recipe.tcb.channels, self.recipe.backbone.width)

    @property
    def test_batch(self) -> int:
        """The largest test batch, within the recipe's bound, that divides the image count."""
        images, bound = self.dataset.test_images, self.recipe.detection.max_test_batch
        return max(b for b in range(1, max(1, bound) + 1) if images % b == 0)

    @property
    def test_iter(self) -> int:
        return self.dataset.test_images // self.test_batch

    @property
    def options(self) -> list[str]:
        """The words that ``gen`` makes this job of."""
        words = []
        for name, value in self.asked.items():
            for each in value if isinstance(value, list) else [value]:
                words += [f"--{name.replace('_', '-')}", shlex.quote(str(each))]
        return words

    def record(self) -> dict[str, Any]:
        """Return what ``job.json`` holds: what was asked, and what it settled to."""
        return {
            "asked": self.asked,
            "arch": self.arch.name,
            "head": self.head.name,
            "dataset": dataclasses.asdict(self.dataset),
            "sources": [
                {**dataclasses.asdict(source), "priors": source.priors} for source in self.sources
            ],
            "snapshot_prefix": self.snapshot_prefix,
            "recipe": dataclasses.asdict(self.recipe),
        }
