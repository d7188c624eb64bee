"""The maps that are predicted from, with the sizes and numbers of their priors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment.archs import EXPANSION
from scratchdet_caffe.experiment.blocks import make_block, scaled
from scratchdet_caffe.experiment.body import Block, Level
from scratchdet_caffe.experiment.names import NAMES, branch_names
from scratchdet_caffe.experiment.pyramid import KEEP, climbing_sizes
from scratchdet_caffe.experiment.recipe import Recipe
from scratchdet_caffe.experiment.registry import unknown

SIZES = ("climb", "steps")
STEPS_PER_SIZE = 4
"""RefineDet's priors are four steps wide: 32 pixels on the map with a step of 8."""

FIRST_REFINED = 3
"""The finest map that the TCB makes is P3, as of a source with a step of 2**3."""


@dataclass(frozen=True)
class Source:
    """A map that is predicted from, with its priors.

    From the backbone to the predictions: ``tap``, L2-normalised if ``l2_norm``, is
    ``features``; that, through ``inter`` if there is one, is ``blob``.

    Attributes:
        name: How the names of the head's layers on it begin.
        blob: The blob that the head reads.
        cells: Side of the map.
        step: Pixels between prior centres.
        min_size: Side of the smaller square prior, pixels.
        max_size: The larger square prior has the side ``sqrt(min_size * max_size)``; None for
            no such prior.
        aspect_ratios: Of the oblong priors.
        per_cell: Priors of each cell.
        tap: The backbone's blob.
        l2_norm: Initial scale of its L2 normalisation; None for none.
        features: What a TCB reads.
        inter: A residual block between features and predictions.
    """

    name: str
    blob: str
    cells: int
    step: float
    min_size: float
    max_size: float | None
    aspect_ratios: tuple[float, ...]
    per_cell: int
    tap: str
    l2_norm: float | None
    features: str
    inter: Block | None

    @property
    def priors(self) -> int:
        """Number of priors on the map."""
        return self.cells**2 * self.per_cell


@dataclass(frozen=True)
class Refined:
    """A map that the TCB makes of ``source`` and of the next coarser map, if there is one.

    Attributes:
        source: Where the ARM predicts, and with what priors.
        number: 3 for ``P3``, the finest; its TCB has ``TL3_1``, ``TL3_2``, ``Elt3``.
        blob: What the ODM's predictions read, and how their names begin.
        inter: A residual block between ``P3`` and ``blob``.
    """

    source: Source
    number: int
    blob: str
    inter: Block | None


def make_sources(levels: Sequence[Level], recipe: Recipe) -> tuple[Source, ...]:
    """Give each of ``levels`` (finest first) its priors, its normalisation and its block.

    Raises:
        UserError: An unknown rule for the sizes.
    """
    priors, scales = recipe.priors, recipe.head.l2_norm
    sources = []
    for i, (level, (low, high)) in enumerate(zip(levels, _sizes(levels, recipe))):
        outer = i == 0 or i >= len(levels) - 2
        ratios = priors.aspect_ratio_outer if outer else priors.aspect_ratio_inner
        name, features, scale = level.source, level.tap, None
        if i < len(scales):
            name = features = f"{level.source}_norm"
            scale = scales[i]
        inter = _inter(name, recipe)
        sources.append(
            Source(
                name=inter.sum if inter else name,
                blob=inter.sum if inter else features,
                cells=level.cells,
                step=level.step,
                min_size=low,
                max_size=high,
                aspect_ratios=ratios,
                per_cell=(2 if high else 1) + len(ratios) * (2 if priors.flip else 1),
                tap=level.tap,
                l2_norm=scale,
                features=features,
                inter=inter,
            )
        )
    return tuple(sources)


def make_refined(sources: Sequence[Source], recipe: Recipe) -> tuple[Refined, ...]:
    """Return the maps that the TCB makes of ``sources``, finest first.

    Raises:
        UserError: A map is not twice as large as the next, as it must be to be added to it.
    """
    for fine, coarse in itertools.pairwise(sources):
        if fine.cells != 2 * coarse.cells:
            cells = ", ".join(str(source.cells) for source in sources)
            coarsest = round(sources[0].step) * 2 ** (len(sources) - 1)
            raise UserError(
                f"size {recipe.size} gives maps of {cells}, but RefineDet's TCB doubles each map "
                f"to add it to the one before, and {fine.cells} is not 2 x {coarse.cells}: take a "
                f"--size that is a multiple of {coarsest}"
            )
    refined = []
    for number, source in enumerate(sources, FIRST_REFINED):
        inter = _inter(f"P{number}", recipe)
        refined.append(Refined(source, number, inter.sum if inter else f"P{number}", inter))
    return tuple(refined)


def _sizes(levels: Sequence[Level], recipe: Recipe) -> list[tuple[float, float | None]]:
    priors = recipe.priors
    if priors.sizes not in SIZES:
        raise unknown("value of priors.sizes", priors.sizes, list(SIZES))
    if priors.sizes == "steps":
        return [(STEPS_PER_SIZE * level.step, None) for level in levels]
    sizes = climbing_sizes(
        recipe.size, len(levels), priors.first_ratio, priors.min_ratio, priors.max_ratio
    )
    if priors.whole_pixels:
        sizes = [(math.floor(low), math.floor(high)) for low, high in sizes]
    return list(sizes)


def _inter(name: str, recipe: Recipe) -> Block | None:
    """Return the bottleneck block between the map ``name`` and its predictions, if any."""
    if not recipe.head.inter:
        return None
    width = recipe.backbone.width
    channels = scaled(recipe.head.inter, width)
    block = f"res{name}_inter"
    return make_block(
        branch_names(block, 3),
        (channels, channels, scaled(EXPANSION * recipe.head.inter, width)),
        KEEP,
        f"{block}_branch1",
        block,
        NAMES["resnet"],
        preactivation=False,
    )
