"""The rules that an input size settles: map sizes, extra levels, steps and prior sizes.

All lengths are pixels of the square network input; a map of ``m`` has ``m x m`` cells.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

HALVE_ABOVE = 5
"""Maps larger than this halve; smaller ones shrink by an unpadded 3x3 window, as SSD's do."""


@dataclass(frozen=True)
class Window:
    """How a level's 3x3 convolution moves over the map below.

    Attributes:
        stride: Its stride, in cells of the map below.
        pad: Its zero padding on every side, in cells.
    """

    stride: int
    pad: int

    def over(self, cells: int) -> int:
        """Return the side of the output map for an input map of ``cells`` (Caffe: floor)."""
        return (cells + 2 * self.pad - 3) // self.stride + 1


def halved(cells: int) -> int:
    """Return the map after a 3x3/2 pad-1 convolution or Caffe's ceil-mode 2x2/2 pooling."""
    return (cells + 1) // 2


def shrink(cells: int) -> Window:
    """Return the window of the extra level after a map of ``cells``, on the way to 1x1.

    19 -> 10 -> 5 -> 3 -> 1 (SSD300) and 32 -> 16 -> 8 -> 4 -> 2 -> 1 (SSD512).
    """
    if cells > HALVE_ABOVE or cells == 2:
        return Window(stride=2, pad=1)
    return Window(stride=1, pad=0)


def step_after(window: Window, step: float, cells: int, size: int) -> float:
    """Return the pixels between prior centres on a level of ``cells`` reached by ``window``.

    A strided level doubles the step of the level below. An unpadded window cuts the border
    off, so its cells are spread over the whole input again (SSD300's 100 and 300).
    """
    return step * window.stride if window.pad else size / cells


def prior_sizes(
    size: int, sources: int, first: int, lowest: int, highest: int
) -> list[tuple[float, float]]:
    """Return ``(min_size, max_size)`` in pixels for each of ``sources`` maps, finest first.

    SSD's rule: ratios of the input climb from ``lowest`` to ``highest`` in equal whole steps
    over all sources but the first, which is given smaller priors of its own.

    Args:
        size: Side of the input.
        sources: Number of maps.
        first: Smallest prior of the first map, percent of the input.
        lowest: Smallest prior of the second map, percent.
        highest: Where the climb ends, percent.
    """
    step = math.floor((highest - lowest) / max(1, sources - 2))
    ratios = [first, *(lowest + i * step for i in range(sources))]
    return [(size * a / 100, size * b / 100) for a, b in itertools.pairwise(ratios)]
