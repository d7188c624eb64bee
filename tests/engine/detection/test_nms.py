"""Suppression against a plain greedy reference, group by group."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from scratchdet_caffe.engine.detection.boxes import overlap
from scratchdet_caffe.engine.detection.nms import suppress


def greedy(boxes: Tensor, threshold: float, eta: float) -> list[bool]:
    """One group, best first, one box after the other."""
    overlaps, limit, kept = overlap(boxes[:, None], boxes).numpy(), np.float32(threshold), []
    for i in range(len(boxes)):
        if all(overlaps[i, j] <= limit for j in kept):
            kept.append(i)
            if eta < 1 and limit > 0.5:
                limit *= np.float32(eta)
    return [i in kept for i in range(len(boxes))]


def random_boxes(seed: int, count: int) -> Tensor:
    """Boxes that overlap a lot."""
    random = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=random) * 0.4
    return torch.cat([low, low + 0.2 + torch.rand(count, 2, generator=random) * 0.4], dim=1)


@given(
    sizes=st.lists(st.integers(0, 25), max_size=6),
    seed=st.integers(0, 2**31),
    threshold=st.sampled_from([0.0, 0.3, 0.45, 0.7, 0.9]),
    eta=st.sampled_from([1.0, 0.9, 0.5]),
)
def test_suppression_is_the_greedy_one_in_every_group(
    sizes: list[int], seed: int, threshold: float, eta: float
) -> None:
    groups = [random_boxes(seed + i, size) for i, size in enumerate(sizes)]
    group = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes, dtype=torch.long))
    boxes = torch.cat([torch.zeros(0, 4), *groups])
    wanted = [keep for members in groups for keep in greedy(members, threshold, eta)]
    assert suppress(boxes, group, threshold, eta).tolist() == wanted


def test_no_two_kept_boxes_overlap_too_much_and_every_dropped_one_has_a_reason() -> None:
    boxes = random_boxes(0, 300)
    keep = suppress(boxes, torch.zeros(300, dtype=torch.long), 0.45)
    kept = boxes[keep]
    among = overlap(kept[:, None], kept).fill_diagonal_(0)
    assert among.max() <= 0.45
    assert (overlap(boxes[~keep][:, None], kept).amax(1) > 0.45).all()


def test_more_groups_than_fit_one_chunk_change_nothing() -> None:
    boxes = random_boxes(1, 150)
    alone = suppress(boxes, torch.zeros(150, dtype=torch.long), 0.5)
    copies = suppress(boxes.repeat(40, 1), torch.arange(40).repeat_interleave(150), 0.5)
    assert torch.equal(copies, alone.repeat(40))
