"""The rules that an input size settles: map sizes, extra levels, steps and prior sizes.

All lengths are pixels of the square network input; a map of ``m`` has ``m x m`` cells.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

HALVE_ABOVE = 5
"""Maps larger than this halve; smaller ones lose their border to an unpadded 3x3 window."""

CLIMB_SOURCES = 6
"""The number of sources for which a recipe states the smallest priors: SSD300's."""


@dataclass(frozen=True)
class Window:
    """How a convolution or a pooling moves over the map below; all in cells of that map."""

    kernel: int
    stride: int
    pad: int

    def over(self, cells: int) -> int:
        """Return the side of the map that a convolution makes of ``cells`` (Caffe: floor)."""
        return (cells + 2 * self.pad - self.kernel) // self.stride + 1

    def pooled(self, cells: int) -> int:
        """Return the side of the map that a pooling makes of ``cells`` (Caffe: ceil).

        Caffe drops a last window that would begin in the padding.
        """
        pooled = -(-(cells + 2 * self.pad - self.kernel) // self.stride) + 1
        if self.pad and (pooled - 1) * self.stride >= cells + self.pad:
            pooled -= 1
        return pooled


HALVE = Window(kernel=3, stride=2, pad=1)
SHRINK = Window(kernel=3, stride=1, pad=0)
KEEP = Window(kernel=3, stride=1, pad=1)
CLOSE = Window(kernel=4, stride=1, pad=1)
"""SSD512's last level: from two cells to one, seeing both."""


def shrink(cells: int, halve_even: bool = True) -> Window:
    """Return the window of the extra level after a map of ``cells``, on the way to 1x1.

    Maps above 5 cells halve, smaller ones lose their border: 19 -> 10 -> 5 -> 3 -> 1 (SSD300).
    With ``halve_even``, 4 cells halve, too, and a 4x4 window closes 2: 32 -> 16 -> 8 -> 4 -> 2
    -> 1 (SSD512).
    """
    if cells == 2:
        return CLOSE if halve_even else HALVE
    return HALVE if cells > HALVE_ABOVE or (halve_even and cells % 2 == 0) else SHRINK


def step_after(window: Window, step: float, cells: int, size: int) -> float:
    """Return the pixels between prior centres on a level of ``cells`` reached by ``window``.

    A padded window halves the map and doubles the step of the level below. An unpadded one
    cuts the border off, so its cells are spread over the whole input again (SSD300's 100 and
    300).
    """
    return step * 2 if window.pad else size / cells


def climb_start(sources: int, first: int, lowest: int) -> tuple[int, int]:
    """Return the percentages `climbing_sizes` starts from, for a pyramid of ``sources`` maps.

    A larger input has more maps, of which the finest stays as fine in pixels: each source
    beyond six lowers ``first`` by 3 and ``lowest`` by 5, as from SSD300 (10, 20; on COCO
    7, 15) to SSD512 (7, 15; on COCO 4, 10).
    """
    extra = max(0, sources - CLIMB_SOURCES)
    if not extra:
        return first, lowest
    first = max(1, first - 3 * extra)
    return first, max(first + 1, lowest - 5 * extra)


def climbing_sizes(
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
