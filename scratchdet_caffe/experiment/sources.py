"""The maps that are predicted from, with the sizes and numbers of their priors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scratchdet_caffe.experiment.body import Level
from scratchdet_caffe.experiment.pyramid import climbing_sizes
from scratchdet_caffe.experiment.recipe import Recipe


@dataclass(frozen=True)
class Source:
    """A map that is predicted from, with its priors.

    Attributes:
        name: How the names of the head's layers on it begin.
        blob: The blob that the head reads.
        cells: Side of the map.
        step: Pixels between prior centres.
        min_size: Side of the smaller square prior, pixels.
        max_size: The larger square prior has the side ``sqrt(min_size * max_size)``.
        aspect_ratios: Of the oblong priors.
        per_cell: Priors of each cell.
        l2_norm: Initial scale where ``blob`` is the L2-normalised ``tap``; None where it is not.
        tap: The backbone's blob.
    """

    name: str
    blob: str
    cells: int
    step: float
    min_size: float
    max_size: float
    aspect_ratios: tuple[float, ...]
    per_cell: int
    l2_norm: float | None
    tap: str

    @property
    def priors(self) -> int:
        """Number of priors on the map."""
        return self.cells**2 * self.per_cell


def make_sources(levels: Sequence[Level], recipe: Recipe) -> tuple[Source, ...]:
    """Give each of ``levels`` (finest first) the priors and the normalisation of ``recipe``."""
    priors, scales = recipe.priors, recipe.head.l2_norm
    sizes = climbing_sizes(
        recipe.size, len(levels), priors.first_ratio, priors.min_ratio, priors.max_ratio
    )
    sources = []
    for i, (level, (low, high)) in enumerate(zip(levels, sizes)):
        outer = i == 0 or i >= len(levels) - 2
        ratios = priors.aspect_ratio_outer if outer else priors.aspect_ratio_inner
        name, blob, scale = level.source, level.tap, None
        if i < len(scales):
            scale = scales[i]
            name = blob = f"{level.source}_norm"
        sources.append(
            Source(
                name=name,
                blob=blob,
                cells=level.cells,
                step=level.step,
                min_size=low,
                max_size=high,
                aspect_ratios=ratios,
                per_cell=2 + len(ratios) * (2 if priors.flip else 1),
                l2_norm=scale,
                tap=level.tap,
            )
        )
    return tuple(sources)
