"""Ranking with defined ties: of equal values the one that comes first ranks first."""

from __future__ import annotations

import torch
from torch import Tensor


def largest(values: Tensor, count: Tensor) -> Tensor:
    """Return a mask of the ``count[b]`` largest of each row ``values[b]``.

    Args:
        values: (B, P).
        count: (B,) int64, each at most P.

    Returns:
        Bool (B, P).
    """
    most = int(count.max()) if len(count) else 0
    if not most:
        return torch.zeros_like(values, dtype=torch.bool)
    # topk leaves open which of equal values it takes, so it only tells us the last one's value.
    last = values.topk(most).values.gather(1, (count - 1).clamp(min=0)[:, None])
    above, tied = values > last, values == last
    room = count[:, None] - above.sum(1, keepdim=True)
    return (above | (tied & (tied.cumsum(1) <= room))) & (count > 0)[:, None]


def ranked(group: Tensor, score: Tensor) -> Tensor:
    """Return the order (D,) that sorts by ``group`` ascending, then ``score`` descending."""
    order = score.argsort(descending=True, stable=True)
    return order[group[order].argsort(stable=True)]
