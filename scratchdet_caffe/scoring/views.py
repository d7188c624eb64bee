"""The views of multi-scale testing: RefineDet's lists for 320 and 512 pixels, a rule for others.

A view is a size to which the picture is stretched; each is looked at twice, as it is and
mirrored. Enlarged views are trusted with small boxes only, shrunk ones with large ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.errors import UserError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Scale:
    """An entry of a list.

    Attributes:
        factor: Times the net's input.
        along: Whether only the picture's shorter side is scaled by it.
        above: Boxes are kept whose longer side has more pixels than this.
        below: Boxes are kept whose shorter side has fewer pixels than this.
        coco: Whether the entry is only for COCO.
    """

    factor: float
    along: bool = False
    above: float = 0.0
    below: float = np.inf
    coco: bool = False


LISTS: dict[int, tuple[Scale, ...]] = {
    320: (
        Scale(1.0),
        Scale(0.6, along=True),
        Scale(0.6, above=32),
        Scale(1.2, below=160),
        Scale(1.4, below=128),
        Scale(1.6, below=96),
        Scale(1.8, below=64),
        Scale(2.0, below=48, coco=True),
        Scale(2.2, below=32),
    ),
    512: (
        Scale(1.0),
        Scale(0.75, along=True),
        Scale(0.5),
        Scale(0.75),
        Scale(1.25, below=224, coco=True),
        Scale(1.5, below=192),
        Scale(1.75, below=128),
        Scale(2.0, below=96, coco=True),
        Scale(2.25, below=64, coco=True),
    ),
}
"""RefineDet's scales; the pixels are those of pictures as large as VOC's and COCO's."""
USUAL_SIDE = {False: 500, True: 640}
"""The longer side of most pictures of VOC, and of COCO (True)."""
SEARCH = 32
"""How many pixels a view may be larger or smaller than its factor says, for the net to take it."""


@dataclass(frozen=True)
class View:
    """A size to look at, in pixels, and the boxes that count there.

    Attributes:
        height: Of the net's input.
        width: The same.
        above: Boxes are kept whose longer side, in the picture, has more pixels than this.
        below: Boxes are kept whose shorter side, in the picture, has fewer pixels than this.
    """

    height: int
    width: int
    above: float = 0.0
    below: float = np.inf

    def keeps(self, boxes: Floats) -> Bools:
        """Return which boxes ``(K, 4)``, in pixels of the picture, count."""
        sides = boxes[:, 2:] - boxes[:, :2] + 1
        return np.asarray((sides.max(axis=1) > self.above) & (sides.min(axis=1) < self.below))

    def __str__(self) -> str:
        limits = f", boxes above {self.above:g}" if self.above else ""
        limits += f", boxes below {self.below:g}" if np.isfinite(self.below) else ""
        return f"{self.width}x{self.height}{limits}"


@dataclass(frozen=True)
class Views:
    """All views of one set of pictures.

    Attributes:
        lying: Those of pictures that are wider than high.
        standing: Those of the others.
        left_out: Factors of views that the net cannot take.
    """

    lying: list[View]
    standing: list[View]
    left_out: list[float]

    def of(self, height: int, width: int) -> list[View]:
        """Return the views of a picture."""
        return self.lying if height < width else self.standing


def plan_views(
    size: tuple[int, int],
    pictures: Sequence[tuple[int, int]],
    takes: Callable[[int, int], bool],
    coco: bool = False,
    name: str = "auto",
) -> Views:
    """Return the views for a net and a set of pictures.

    The list is the one of the size nearest to the net's. Each view has the size nearest to its
    factor that the net can take. The limits in pixels are scaled by the median longer side of
    the pictures to that of VOC's or COCO's pictures; for these sets they are RefineDet's own.

    Args:
        size: Height and width of the net's input.
        pictures: Width and height of each picture.
        takes: Whether the net can take an input of this height and width.
        coco: Whether COCO's further scales are wanted.
        name: "320", "512" or "auto".

    Raises:
        UserError: The net cannot take the size it was made for.
    """
    near = 320 if name == "auto" and max(size) <= 416 else 512
    scales = LISTS[near if name == "auto" else int(name)]
    longer = float(np.median([max(own) for own in pictures])) if pictures else USUAL_SIDE[coco]
    unit = longer / USUAL_SIDE[coco]
    views = Views([], [], [])
    for scale in (own for own in scales if coco or not own.coco):
        limits = scale.above * unit, scale.below * unit
        high, wide = size
        if scale.along:
            lying = _takeable((scale.factor * high, wide), (1, 0), takes)
            standing = _takeable((high, scale.factor * wide), (0, 1), takes)
        else:
            lying = standing = _takeable((scale.factor * high, scale.factor * wide), (1, 1), takes)
        repeats = scale.factor != 1 and size in (lying, standing)
        if not lying or not standing or repeats:
            views.left_out.append(scale.factor)
            continue
        views.lying.append(View(*lying, *limits))
        views.standing.append(View(*standing, *limits))
    if not views.lying or (views.lying[0].height, views.lying[0].width) != size:
        raise UserError(f"the net cannot take the {size[1]}x{size[0]} pixels it was made for")
    return views


def _takeable(
    wanted: tuple[float, float], free: tuple[int, int], takes: Callable[[int, int], bool]
) -> tuple[int, int] | None:
    """The height and width nearest to ``wanted`` that the net takes; only ``free`` sides vary."""
    height, width = round(wanted[0]), round(wanted[1])
    for step in range(2 * SEARCH + 1):
        by = (step + 1) // 2 * (-1) ** (step + 1)  # 0, 1, -1, 2, -2, ...
        size = height + by * free[0], width + by * free[1]
        if min(size) > 0 and takes(*size):
            return size
    return None
