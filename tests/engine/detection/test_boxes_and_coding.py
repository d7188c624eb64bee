"""Overlap, and offsets that lead from priors to boxes and back."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from scratchdet_caffe.engine.detection.boxes import box_area, crosses_border, overlap
from scratchdet_caffe.engine.detection.coding import (
    CENTER_SIZE,
    CORNER,
    CORNER_SIZE,
    decode,
    encode,
)

CODES = st.sampled_from([CORNER, CENTER_SIZE, CORNER_SIZE])
SEEDS = st.integers(0, 2**31)


def random_boxes(seed: int, count: int = 20) -> Tensor:
    """Boxes with sides of at least 0.02, some reaching outside the unit square."""
    random = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=random) - 0.1
    return torch.cat([low, low + torch.rand(count, 2, generator=random) * 0.8 + 0.02], dim=1)


@given(SEEDS)
def test_overlap_is_symmetric_bounded_and_one_with_itself(seed: int) -> None:
    a, b = random_boxes(seed), random_boxes(seed + 1)
    both = overlap(a[:, None], b)
    assert torch.equal(both, overlap(b[:, None], a).T)
    assert ((both >= 0) & (both <= 1)).all()
    torch.testing.assert_close(overlap(a, a), torch.ones(len(a)))


def test_overlap_of_boxes_drawn_by_hand() -> None:
    box = torch.tensor([0.0, 0.0, 0.4, 0.4])
    others = torch.tensor(
        [
            [0.2, 0.0, 0.6, 0.4],  # half of each
            [0.4, 0.0, 0.6, 0.4],  # touches
            [0.1, 0.1, 0.1, 0.3],  # no width
            [0.3, 0.3, 0.1, 0.1],  # inverted
        ]
    )
    torch.testing.assert_close(overlap(box, others), torch.tensor([1 / 3, 0, 0, 0]))
    assert overlap(others[2], others[2]) == 0
    assert box_area(others[3]) == 0


def test_only_boxes_that_leave_the_picture_cross_its_border() -> None:
    boxes = torch.tensor([[0, 0, 1, 1], [-1e-6, 0, 1, 1], [0, 0.5, 1.1, 0.6]])
    assert crosses_border(boxes).tolist() == [False, True, True]


@given(SEEDS, CODES, st.booleans())
def test_decode_undoes_encode(seed: int, code_type: int, with_variances: bool) -> None:
    boxes, priors = random_boxes(seed), random_boxes(seed + 1)
    variances = torch.tensor([0.1, 0.15, 0.2, 0.25]) if with_variances else None
    offsets = encode(boxes, priors, variances, code_type)
    torch.testing.assert_close(
        decode(offsets, priors, variances, code_type), boxes, rtol=1e-4, atol=1e-5
    )


@given(SEEDS, CODES)
def test_no_offset_is_the_prior_itself(seed: int, code_type: int) -> None:
    priors = random_boxes(seed)
    torch.testing.assert_close(decode(torch.zeros(20, 4), priors, None, code_type), priors)
