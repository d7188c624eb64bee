"""Non-maximum suppression of many independent groups of boxes at once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from scratchdet_caffe.engine.detection.boxes import overlap

#: How many pairs of boxes to hold at once: what a core's cache takes, what fills a GPU.
_PAIRS_CPU, _PAIRS_GPU = 1 << 18, 1 << 24


def suppress(boxes: Tensor, group: Tensor, threshold: float, eta: float = 1.0) -> Tensor:
    """Keep the boxes that overlap no better box of their group too much.

    Args:
        boxes: (D, 4), group after group, in each group the best score first.
        group: (D,) int64, the group of each box.
        threshold: A box is dropped if its overlap with a kept one exceeds this.
        eta: The threshold is multiplied by this after every kept box, as long as it is above
            0.5 (Caffe's adaptive threshold); 1 leaves it alone.

    Returns:
        Bool (D,): which boxes to keep.
    """
    keep = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    _, counts = torch.unique_consecutive(group, return_counts=True)
    starts = counts.cumsum(0) - counts
    for chosen, size in _chunks(counts.tolist(), _PAIRS_GPU if boxes.is_cuda else _PAIRS_CPU):
        place = torch.arange(size, device=boxes.device)
        chunk = torch.tensor(chosen, device=boxes.device)[:, None]
        filled = place < counts[chunk]
        index = (starts[chunk] + place)[filled]
        padded = boxes.new_zeros(*filled.shape, 4)
        padded[filled] = boxes[index]
        keep[index] = suppress_rows(padded, threshold, eta)[filled]
    return keep


def suppress_rows(boxes: Tensor, threshold: float, eta: float = 1.0) -> Tensor:
    """Suppress within each row of (B, K, 4), best box first; return a bool mask (B, K).

    Whether a box stays depends only on the boxes before it. So the greedy result is the one
    mask that reproduces itself, and repeating the step below settles it from the front.
    """
    overlaps = overlap(boxes[:, :, None], boxes[:, None, :]).triu_(diagonal=1)
    limits = boxes.new_tensor(_limits(threshold, eta, boxes.shape[1]))
    keep = torch.ones(boxes.shape[:2], dtype=torch.bool, device=boxes.device)
    while True:
        kept_before = keep.cumsum(1) - keep.long()
        strongest = (overlaps * keep[:, :, None]).amax(1)
        settled = strongest <= limits[kept_before]
        if torch.equal(settled, keep):
            return keep
        keep = settled


def _limits(threshold: float, eta: float, count: int) -> list[float]:
    """The threshold that a box meets after 0, 1, ... kept ones."""
    limits, factor = [np.float32(threshold)], np.float32(eta)
    for _ in range(count - 1):
        limits.append(limits[-1] * factor if limits[-1] > 0.5 else limits[-1])
    return [float(limit) for limit in limits]


def _chunks(counts: list[int], pairs: int) -> list[tuple[list[int], int]]:
    """Split groups into chunks: indices of groups of like size, and the largest size.

    A group of one box needs no suppression and is left out.
    """
    chunks: list[tuple[list[int], int]] = []
    chosen: list[int] = []
    for i in sorted((i for i, count in enumerate(counts) if count > 1), key=lambda i: -counts[i]):
        size = counts[chosen[0]] if chosen else 0
        if not chosen or counts[i] * 2 < size or (len(chosen) + 1) * size**2 > pairs:
            chosen = []
            chunks.append((chosen, counts[i]))
        chosen.append(i)
    return chunks
