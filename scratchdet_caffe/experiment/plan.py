"""Words into a job: which recipe holds, what is overridden, and what makes no sense."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment.archs import ARCHS, Arch
from scratchdet_caffe.experiment.datasets import Dataset, find_dataset
from scratchdet_caffe.experiment.heads import HEADS
from scratchdet_caffe.experiment.job import Job
from scratchdet_caffe.experiment.layout import LARGEST_SIZE, make_body
from scratchdet_caffe.experiment.pyramid import climb_start
from scratchdet_caffe.experiment.recipe import Recipe
from scratchdet_caffe.experiment.recipe_files import load_recipe, nested, parse_setting
from scratchdet_caffe.experiment.registry import unknown
from scratchdet_caffe.experiment.schedule import resolve

BN_CHOICES = {
    "both": (True, True),
    "backbone": (True, False),
    "head": (False, True),
    "none": (False, False),
}
"""``--bn`` word -> whether the backbone has BatchNorm, and whether TCB and head do."""

Changes = list[Mapping[str, Any]]


def plan(
    arch: str,
    dataset: str,
    recipe: str,
    *,
    size: int | None = None,
    head: str | None = None,
    bn: str | None = None,
    weights: str | None = None,
    max_iter: int | None = None,
    batch: int | None = None,
    gpus: str | None = None,
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
        head: A word of ``HEADS``; None for the recipe's.
        bn: A word of ``BN_CHOICES``; None for the recipe's.
        weights: The ``.caffemodel`` that training begins with, or ``none``; None for the recipe's.
        max_iter: Iterations; the recipe's steps and intervals shrink or grow with it.
        batch: Training images at once on each GPU; the passes of an iteration follow.
        gpus: Numbers with commas between, or ``none`` for the CPU; None for the recipe's.
        settings: ``table.field=value`` overrides, laid over everything else.
        out: The folder over all jobs.
        name: The job's folder; None for ``<recipe>_<size>``, with ``_<head>`` and ``_bn-<word>``
            if given.

    Raises:
        UserError: An unknown word, an unusable dataset folder, or a value that makes no sense.
    """
    found_arch, data = ARCHS[arch], find_dataset(dataset)
    flags: Changes = []
    if size is not None:
        flags.append({"size": size})
    if head is not None:
        flags.append(nested("head.type", HEADS[head].name))
    if bn is not None:
        if bn not in BN_CHOICES:
            raise unknown("value of --bn", bn, list(BN_CHOICES))
        in_backbone, in_head = BN_CHOICES[bn]
        flags += [nested(f"{part}.bn", in_head) for part in ("tcb", "head")]
        flags.append(nested("backbone.bn", in_backbone))
    if weights is not None:
        flags.append({"weights": "" if weights == "none" else weights})
    if batch is not None:
        flags.append(nested("data.batch_size", batch))
    if gpus is not None:
        flags.append(_gpus(gpus))
    settled = _settle(recipe, found_arch, data, flags, max_iter, settings)
    if name is not None and (name in ("", ".", "..") or re.search(r"[/\\\x00-\x1f]", name)):
        raise UserError(f"--job {name!r} cannot name a folder; --out says where the folder lies")
    asked: dict[str, Any] = {
        "arch": arch,
        "dataset": dataset,
        "recipe": recipe,
        "size": size,
        "head": head,
        "bn": bn,
        "weights": weights,
        "max_iter": max_iter,
        "batch": batch,
        "gpus": gpus,
        "set": list(settings),
        "job": name,
    }
    default_name = f"{recipe}_{settled.size}"
    default_name += (f"_{head}" if head else "") + (f"_bn-{bn}" if bn else "")
    job = Job(
        arch=found_arch,
        head=HEADS[settled.head.type],
        dataset=data,
        recipe=settled,
        out=out,
        name=name or default_name,
        asked={key: value for key, value in asked.items() if value is not None and value != []},
    )
    _ = job.sources, job.refined  # refuses here what cannot be laid out
    return job


def _gpus(text: str) -> dict[str, Any]:
    numbers = [] if text == "none" else text.split(",")
    if not all(number.isdecimal() for number in numbers) or len(set(numbers)) < len(numbers):
        raise UserError(f"--gpus '{text}': write numbers like 0,1, each once, or none for the CPU")
    mode = "GPU" if numbers else "CPU"
    return {"solver": {"gpus": [int(number) for number in numbers], "solver_mode": mode}}


def _settle(
    name: str,
    arch: Arch,
    data: Dataset,
    flags: Changes,
    max_iter: int | None,
    settings: Iterable[str],
) -> Recipe:
    """Return the recipe as it holds for this job; ``settings`` win over all that follows.

    The head and the size decide which tables of the recipe hold, so they are settled first.
    """
    given = [parse_setting(text) for text in settings]
    words = [arch.name, arch.family, arch.block, data.name, data.family]
    first = load_recipe(name, words, [*flags, *given])
    words += [first.head.type, str(first.size)]
    derived: Changes = []
    if max_iter is not None:
        derived.append(rescaled(load_recipe(name, words, flags), max_iter))
    settled = load_recipe(name, words, [*flags, *derived, *given])
    _check_size(settled.size)
    if settled.priors.sizes == "climb":
        sources = make_body(arch, settled.size, settled.backbone, settled.pyramid).sources
        first_ratio, min_ratio = settled.priors.first_ratio, settled.priors.min_ratio
        start = climb_start(len(sources), first_ratio, min_ratio)
        derived.append({"priors": dict(zip(("first_ratio", "min_ratio"), start))})
        settled = load_recipe(name, words, [*flags, *derived, *given])
    weights = settled.weights.replace("{size}", str(settled.size)).replace("{arch}", arch.name)
    resolved = dataclasses.replace(resolve(settled), weights=weights)
    _check(resolved)
    return resolved


def _check_size(size: int) -> None:
    if size < 1:
        raise UserError(f"size is {size}, but must be 1 or more")
    if size > LARGEST_SIZE:
        raise UserError(f"size is {size} pixels, but must be {LARGEST_SIZE} or less")


def _check(recipe: Recipe) -> None:
    """Refuse what no training can use."""
    solver = recipe.solver
    if recipe.finetunes and not recipe.weights:
        raise UserError(f"recipe {recipe.name} goes on from trained weights: give --weights FILE")
    for field, value in (
        ("data.batch_size", recipe.data.batch_size),
        ("solver.max_iter", solver.max_iter),
        ("solver.iter_size", solver.iter_size),
    ):
        if value is not None and value < 1:
            raise UserError(f"{field} is {value}, but must be 1 or more")
    for field, number in vars(solver).items():
        if isinstance(number, float) and not math.isfinite(number):
            raise UserError(f"solver.{field} is {number}, but must be a finite number")
        if isinstance(number, (int, float)) and number < 0 and field != "random_seed":
            raise UserError(f"solver.{field} is {number}, but must be 0 or more")
    means = len(recipe.data.mean_value)
    if means not in (0, 1, 3):
        raise UserError(f"data.mean_value has {means} values, but takes 3 (blue, green, red) or 1")


def rescaled(recipe: Recipe, max_iter: int) -> dict[str, Any]:
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
