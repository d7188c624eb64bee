"""A job: one arch, dataset, recipe and size, and everything that follows from them."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment.archs import ARCHS, Arch
from scratchdet_caffe.experiment.body import Body, make_body
from scratchdet_caffe.experiment.datasets import Dataset, find_dataset
from scratchdet_caffe.experiment.heads import HEADS, Head
from scratchdet_caffe.experiment.pyramid import prior_sizes
from scratchdet_caffe.experiment.recipe import Filler, Recipe
from scratchdet_caffe.experiment.recipe_files import load_recipe, nested, parse_setting
from scratchdet_caffe.experiment.registry import unknown

LARGEST_SIZE = 4096
"""Pixels: what is beyond is a slip, and its nets would take hours to lay out."""

BN_CHOICES = {
    "both": (True, True),
    "backbone": (True, False),
    "head": (False, True),
    "none": (False, False),
}
"""``--bn`` word -> (backbone.bn, head.bn)."""


@dataclass(frozen=True)
class Source:
    """A map that is predicted from, with its priors.

    Attributes:
        blob: The blob that the head reads.
        cells: Side of the map.
        step: Pixels between prior centres.
        min_size: Side of the smaller square prior, pixels.
        max_size: The larger square prior has the side ``sqrt(min_size * max_size)``.
        aspect_ratios: Of the oblong priors.
        per_cell: Priors of each cell.
    """

    blob: str
    cells: int
    step: float
    min_size: float
    max_size: float
    aspect_ratios: tuple[float, ...]
    per_cell: int

    @property
    def priors(self) -> int:
        """Number of priors on the map."""
        return self.cells**2 * self.per_cell


@dataclass(frozen=True)
class Job:
    """What ``gen`` renders. Fields are given, properties follow; see `plan`.

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

    @cached_property
    def body(self) -> Body:
        recipe = self.recipe
        return make_body(self.arch, recipe.size, recipe.backbone.width, recipe.pyramid)

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """The maps that are predicted from, finest first."""
        levels, priors = self.body.sources, self.recipe.priors
        sizes = prior_sizes(
            self.recipe.size,
            len(levels),
            priors.first_ratio,
            priors.min_ratio,
            priors.max_ratio,
        )
        sources = []
        for i, (level, (low, high)) in enumerate(zip(levels, sizes)):
            outer = i == 0 or i >= len(levels) - 2
            ratios = priors.aspect_ratio_outer if outer else priors.aspect_ratio_inner
            per_cell = 2 + len(ratios) * (2 if priors.flip else 1)
            sources.append(Source(level.tap, level.cells, level.step, low, high, ratios, per_cell))
        return tuple(sources)

    @property
    def head_filler(self) -> Filler:
        head = self.recipe.head
        return head.filler_with_bn if head.bn else head.filler

    @property
    def test_batch(self) -> int:
        """The largest test batch, within the recipe's bound, that divides the image count."""
        images, bound = self.dataset.test_images, self.recipe.detection.max_test_batch
        return max(b for b in range(1, max(1, bound) + 1) if images % b == 0)

    @property
    def test_iter(self) -> int:
        return self.dataset.test_images // self.test_batch

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


def plan(
    arch: str,
    dataset: str,
    recipe: str,
    *,
    size: int | None = None,
    bn: str | None = None,
    max_iter: int | None = None,
    batch: int | None = None,
    settings: Sequence[str] = (),
    out: str = "models",
    name: str | None = None,
) -> Job:
    """Turn words into a job.

    Args:
        arch: A word of ``ARCHS``.
        dataset: A word of ``DATASETS``, or a prepared folder.
        recipe: A word of ``recipe_names()``.
        size: Side of the square input, pixels; None for the recipe's.
        bn: A word of ``BN_CHOICES``; None for the recipe's.
        max_iter: Iterations; the recipe's steps and intervals shrink or grow with it.
        batch: Training images per iteration and GPU.
        settings: ``table.field=value`` overrides, laid over everything else.
        out: The folder over all jobs.
        name: The job's folder; None for ``<recipe>_<size>``, with ``_bn-<word>`` if given.

    Raises:
        UserError: An unknown word, an unusable dataset folder, or a value that makes no sense.
    """
    found_arch, data = ARCHS[arch], find_dataset(dataset)
    words = (arch, data.name)
    changes = []
    if size is not None:
        changes.append({"size": size})
    if bn is not None:
        if bn not in BN_CHOICES:
            raise unknown("value of --bn", bn, list(BN_CHOICES))
        backbone, head = BN_CHOICES[bn]
        changes += [nested("backbone.bn", backbone), nested("head.bn", head)]
    if batch is not None:
        changes.append(nested("data.batch_size", batch))
    if max_iter is not None:
        changes.append(_rescaled(load_recipe(recipe, words), max_iter))
    changes += [parse_setting(text) for text in settings]
    settled = load_recipe(recipe, words, changes)
    _check(settled)
    if name is not None and (name in ("", ".", "..") or re.search(r"[/\\\x00-\x1f]", name)):
        raise UserError(f"--job {name!r} cannot name a folder; --out says where the folder lies")
    asked: dict[str, Any] = {
        "arch": arch,
        "dataset": dataset,
        "recipe": recipe,
        "size": size,
        "bn": bn,
        "max_iter": max_iter,
        "batch": batch,
        "set": list(settings),
        "job": name,
    }
    default_name = f"{recipe}_{settled.size}" + (f"_bn-{bn}" if bn else "")
    return Job(
        arch=found_arch,
        head=HEADS[settled.head.type],
        dataset=data,
        recipe=settled,
        out=out,
        name=name or default_name,
        asked={key: value for key, value in asked.items() if value is not None and value != []},
    )


def _check(recipe: Recipe) -> None:
    """Refuse numbers that no training can use."""
    solver = recipe.solver
    for field, value in (
        ("size", recipe.size),
        ("data.batch_size", recipe.data.batch_size),
        ("solver.max_iter", solver.max_iter),
        ("solver.iter_size", solver.iter_size),
    ):
        if value < 1:
            raise UserError(f"{field} is {value}, but must be 1 or more")
    if recipe.size > LARGEST_SIZE:
        raise UserError(f"size is {recipe.size} pixels, but must be {LARGEST_SIZE} or less")
    for field, number in vars(solver).items():
        if isinstance(number, float) and not math.isfinite(number):
            raise UserError(f"solver.{field} is {number}, but must be a finite number")


def _rescaled(recipe: Recipe, max_iter: int) -> dict[str, Any]:
    """Return the solver table for ``max_iter``: the same schedule, shorter or longer."""
    solver, share = recipe.solver, max_iter / max(1, recipe.solver.max_iter)

    def scaled(iterations: int) -> int:
        return max(1, round(iterations * share)) if iterations else 0

    changed: dict[str, Any] = {
        "max_iter": max_iter,
        "stepvalue": [scaled(step) for step in solver.stepvalue],
        "snapshot": scaled(solver.snapshot),
        "test_interval": scaled(solver.test_interval),
    }
    return {"solver": changed}
