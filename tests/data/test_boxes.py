"""Box maths: projection, clipping, overlap, resizing; properties that hold for every box."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.data.boxes import WHOLE, area, coverage, emitted, jaccard, mirrored, project
from scratchdet_caffe.data.resize import extrapolate_boxes, resize_boxes, scaled_size

unit = st.floats(0, 1, width=32)


@st.composite
def box_arrays(draw: st.DrawFn, count: int = 3, least: float = 0.01) -> np.ndarray:
    """Boxes inside the unit square with sides of at least ``least``."""
    corners = np.array([[draw(unit) for _ in range(4)] for _ in range(count)], np.float32)
    low, sides = corners[:, :2] * np.float32(1 - least), corners[:, 2:]
    high = low + least + sides * (1 - least - low)
    return np.concatenate([low, high.clip(0, 1)], axis=1).astype(np.float32)


@given(box_arrays(), box_arrays(1, 0.05))
def test_no_projected_box_leaves_its_window(boxes: np.ndarray, windows: np.ndarray) -> None:
    keep, inside = project(boxes, windows[0])
    assert ((inside >= 0) & (inside <= 1)).all()
    assert (area(inside[keep]) > 0).all()
    # Only boxes that share an area with the window are kept.
    assert (coverage(boxes, windows)[keep] > 0).all()


@given(box_arrays(), st.floats(1, 4), unit, unit)
def test_expansion_and_its_inverse_return_the_boxes(
    boxes: np.ndarray, ratio: float, across: float, down: float
) -> None:
    low = -(ratio - 1) * np.array([across, down])
    outer = np.concatenate([low, low + ratio]).astype(np.float32)
    keep, inside = project(boxes, outer)
    assert keep.all()
    back = inside * np.float32(ratio) + np.tile(outer[:2], 2)
    np.testing.assert_allclose(back, boxes, atol=2e-6)


@given(box_arrays(), box_arrays(1, 0.05))
def test_a_crop_and_its_inverse_return_what_the_crop_shows(
    boxes: np.ndarray, windows: np.ndarray
) -> None:
    (window,) = windows
    keep, inside = project(boxes, window)
    size = np.tile(window[2:] - window[:2], 2)
    back = inside * size + np.tile(window[:2], 2)
    shown = np.clip(boxes, np.tile(window[:2], 2), np.tile(window[2:], 2))
    np.testing.assert_allclose(back[keep], shown[keep], atol=2e-6)


@given(box_arrays(), box_arrays())
def test_overlaps_are_shares(first: np.ndarray, second: np.ndarray) -> None:
    overlap = jaccard(first[:, None], second[None])
    assert overlap.shape == (3, 3)
    assert ((overlap >= 0) & (overlap <= 1 + 1e-5)).all()
    np.testing.assert_allclose(overlap, jaccard(second[:, None], first[None]).T, rtol=1e-5)
    np.testing.assert_allclose(jaccard(first, first), 1, rtol=1e-5)
    assert (jaccard(first, second) <= coverage(first, second) * (1 + 1e-5)).all()


@given(box_arrays())
def test_mirroring_twice_returns_the_boxes(boxes: np.ndarray) -> None:
    np.testing.assert_allclose(mirrored(mirrored(boxes)), boxes, atol=1e-6)
    np.testing.assert_allclose(area(mirrored(boxes)), area(boxes), atol=1e-6)


def test_boxes_without_area_are_dropped() -> None:
    boxes = np.array([[0.2, 0.2, 0.2, 0.6], [0.5, 0.5, 0.4, 0.6], [0, 0, 1, 1]], np.float32)
    keep, _ = project(boxes, WHOLE)
    assert keep.tolist() == [False, False, True]


def test_emit_constraint_by_centre_and_by_overlap() -> None:
    boxes = np.array([[0.4, 0.4, 0.7, 0.7], [0.45, 0.45, 0.5, 0.5]], np.float32)
    window = np.array([0, 0, 0.5, 0.5], np.float32)
    centre = pb.EmitConstraint(emit_type=pb.EmitConstraint.CENTER)
    assert emitted(boxes, window, centre).tolist() == [False, True]
    for share, expected in ((0.1, [True, True]), (0.2, [False, True])):
        overlap = pb.EmitConstraint(emit_type=pb.EmitConstraint.MIN_OVERLAP, emit_overlap=share)
        assert emitted(boxes, window, overlap).tolist() == expected


MODES = [
    pb.ResizeParameter.WARP,
    pb.ResizeParameter.FIT_SMALL_SIZE,
    pb.ResizeParameter.FIT_LARGE_SIZE_AND_PAD,
]


@settings(max_examples=50)
@given(box_arrays(), st.sampled_from(MODES), st.integers(20, 300), st.integers(20, 300))
def test_resized_boxes_stay_where_their_pixels_are(
    boxes: np.ndarray, mode: int, width: int, height: int
) -> None:
    param = pb.ResizeParameter(resize_mode=mode, width=120, height=80)
    moved = resize_boxes(boxes, param, (width, height))
    scale = np.array(scaled_size(param, (width, height)))
    final = scale if mode != pb.ResizeParameter.FIT_LARGE_SIZE_AND_PAD else np.array([120, 80])
    offset = (final - scale) // 2
    expected = (boxes.reshape(-1, 2, 2) * scale + offset).reshape(-1, 4)
    # Sizes and paddings are cut to whole pixels, boxes are not.
    np.testing.assert_allclose(moved * np.tile(final, 2), expected, atol=1.6)


def test_extrapolation_needs_the_scales_and_a_large_enough_picture() -> None:
    boxes = np.array([[0, 0, 0.5, 1]], np.float32)
    param = pb.ResizeParameter(resize_mode=pb.ResizeParameter.FIT_SMALL_SIZE, width=100, height=100)
    assert extrapolate_boxes(boxes, param, (200, 100), WHOLE) is boxes
    param.width_scale = param.height_scale = 100
    # The picture becomes 200 x 100, so in units of 100 its right half ends at 2.
    moved = extrapolate_boxes(boxes, param, (200, 100), WHOLE)
    assert moved.tolist() == [[0, 0, pytest.approx(1), pytest.approx(1)]]
