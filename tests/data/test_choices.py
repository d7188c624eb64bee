"""Each random choice of the transform by itself: how often, from which range, and how spread.

The photometric ones are in test_distort.py, salt and pepper in test_noise.py.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.data import Transformer
from scratchdet_caffe.data.resize import INTERPOLATIONS, draw_interpolation
from scratchdet_caffe.data.sampler import draw_windows

DRAWS = 2000
# The largest distance that 2000 draws of a uniform number keep in 999 of 1000 tries
# (Kolmogorov: 1.95 / sqrt(n)), rounded up.
SPREAD = 0.045


def assert_uniform(values: np.ndarray, low: float, high: float, slack: float = 0.0) -> None:
    """Check that ``values`` are spread evenly from ``low`` to ``high``, no further."""
    assert low - slack <= values.min()
    assert values.max() <= high + slack
    ranks = np.arange(1, len(values) + 1) / len(values)
    share = (np.sort(values) - low) / (high - low)
    assert np.abs(share - ranks).max() < SPREAD + slack


def transformer(text: str, phase: int = pb.TRAIN) -> Transformer:
    return Transformer(parse_text(f"transform_param {{ {text} }}", pb.LayerParameter), phase)


def whole_picture(pixels: np.ndarray) -> pb.AnnotatedDatum:
    """A record of one box as large as the picture."""
    record = pb.AnnotatedDatum(type=pb.AnnotatedDatum.BBOX)
    record.datum.data, record.datum.encoded = cv2.imencode(".png", pixels)[1].tobytes(), True
    group = record.annotation_group.add(group_label=1)
    group.annotation.add().bbox.MergeFrom(pb.NormalizedBBox(xmin=0, ymin=0, xmax=1, ymax=1))
    return record


GREY = whole_picture(np.full((80, 120, 3), 90, np.uint8))  # small: 2000 of them are decoded


FEW_BOXES = whole_picture(np.full((80, 120, 3), 90, np.uint8))
for _label, _box in ((2, (0.1, 0.2, 0.4, 0.6)), (3, (0.7, 0.55, 0.98, 0.97))):
    _edges = dict(zip(("xmin", "ymin", "xmax", "ymax"), _box))
    FEW_BOXES.annotation_group.add(group_label=_label).annotation.add().bbox.MergeFrom(
        pb.NormalizedBBox(**_edges)
    )


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from(["WARP", "FIT_LARGE_SIZE_AND_PAD", "FIT_SMALL_SIZE"]),
    st.sampled_from(["", "emit_constraint { emit_type: CENTER }"]),
    st.floats(1, 4),
    st.floats(0.1, 0.9),
)
def test_whatever_is_drawn_boxes_lie_in_the_picture_and_have_an_area(
    seed: int, mode: str, emit: str, ratio: float, overlap: float
) -> None:
    sampler = (
        "batch_sampler { sampler { min_scale: 0.2 max_scale: 1 min_aspect_ratio: 0.5 "
        "max_aspect_ratio: 2 } max_trials: 20 max_sample: 1 "
        f"sample_constraint {{ min_jaccard_overlap: {overlap} }} }}"
    )
    make = Transformer(
        parse_text(
            f"transform_param {{ force_color: true mirror: true {emit} "
            f"expand_param {{ prob: 0.7 max_expand_ratio: {ratio} }} "
            f"resize_param {{ resize_mode: {mode} height: 30 width: 40 }} }} "
            f"annotated_data_param {{ {sampler} }}",
            pb.LayerParameter,
        ),
        pb.TRAIN,
    )
    picture, rows = make(FEW_BOXES, np.random.default_rng(seed))
    assert picture.shape[0] == 3
    assert np.isfinite(picture).all()
    assert ((rows[:, 3:7] >= 0) & (rows[:, 3:7] <= 1 + 1e-6)).all()
    assert (rows[:, 5:7] > rows[:, 3:5]).all()
    assert set(rows[:, 1]) <= {1, 2, 3}


@pytest.mark.parametrize("prob", [0.0, 0.3, 1.0])
def test_expansion_happens_as_often_as_asked_and_by_any_ratio_to_any_side(prob: float) -> None:
    make = transformer(f"force_color: true expand_param {{ prob: {prob} max_expand_ratio: 3 }} "
                       "resize_param { width: 4 height: 4 }")  # fmt: skip
    rng = np.random.default_rng(1)
    boxes = np.array([make(GREY, rng)[1][0, 3:7] for _ in range(DRAWS)])
    expanded = boxes[boxes[:, 2] - boxes[:, 0] < 0.999]
    assert len(expanded) / DRAWS == pytest.approx(prob, abs=0.03)
    if prob == 1:
        # Canvas and place are whole pixels, 1/120 of the width and 1/80 of the height.
        assert_uniform(1 / (expanded[:, 2] - expanded[:, 0]), 1, 3, slack=0.02)
        left, top, right, bottom = expanded[expanded[:, 2] - expanded[:, 0] < 0.8].T
        assert_uniform(left / (1 - right + left), 0, 1, slack=0.04)
        assert_uniform(top / (1 - bottom + top), 0, 1, slack=0.04)


def test_windows_have_any_scale_shape_and_place() -> None:
    sampler = pb.Sampler(min_scale=0.3, max_scale=0.6, min_aspect_ratio=0.5, max_aspect_ratio=2)
    windows = draw_windows(sampler, DRAWS, np.random.default_rng(2))
    width, height = (windows[:, 2:] - windows[:, :2]).T
    assert_uniform(np.sqrt(width * height), 0.3, 0.6, slack=1e-5)
    assert_uniform(width / height, 0.5, 2, slack=1e-4)  # a scale up to 0.6 leaves room for both
    assert_uniform(windows[:, 0] / (1 - width), 0, 1, slack=1e-5)
    assert_uniform(windows[:, 1] / (1 - height), 0, 1, slack=1e-5)


def test_a_large_window_is_as_wide_as_fits() -> None:
    sampler = pb.Sampler(min_scale=0.9, max_scale=0.9, min_aspect_ratio=0.5, max_aspect_ratio=2)
    windows = draw_windows(sampler, DRAWS, np.random.default_rng(3))
    width, height = (windows[:, 2:] - windows[:, :2]).T
    ratios = width / height
    assert ratios.min() == pytest.approx(0.81, abs=1e-4)
    assert ratios.max() == pytest.approx(1 / 0.81, abs=1e-4)
    # What does not fit is cut to what does: of ratios from 0.5 to 2, these shares.
    assert (ratios < 0.811).mean() == pytest.approx((0.81 - 0.5) / 1.5, abs=0.04)
    assert (ratios > 1.234).mean() == pytest.approx((2 - 1 / 0.81) / 1.5, abs=0.04)


def test_every_interpolation_is_as_likely() -> None:
    param = pb.ResizeParameter(interp_mode=list(INTERPOLATIONS))
    rng = np.random.default_rng(4)
    drawn = [draw_interpolation(param, rng) for _ in range(DRAWS)]
    for mode in INTERPOLATIONS.values():
        assert drawn.count(mode) / DRAWS == pytest.approx(0.2, abs=0.035)
    assert draw_interpolation(pb.ResizeParameter(), rng) == cv2.INTER_LINEAR


def test_half_of_the_pictures_are_mirrored() -> None:
    make = transformer("mirror: true force_color: true")
    rng, record = np.random.default_rng(5), whole_picture(np.zeros((4, 6, 3), np.uint8))
    record.annotation_group[0].annotation[0].bbox.xmax = 0.25
    lefts = [make(record, rng)[1][0, 3] for _ in range(DRAWS)]
    assert set(lefts) == {0, 0.75}
    assert np.mean(np.array(lefts) > 0.5) == pytest.approx(0.5, abs=0.035)


def test_a_training_crop_lies_anywhere_and_a_test_crop_in_the_middle() -> None:
    columns, rows = np.meshgrid(np.arange(60), np.arange(50))
    record = whole_picture(np.stack([columns, rows, 0 * rows], axis=2).astype(np.uint8))
    text = "force_color: true crop_h: 20 crop_w: 10"
    rng, make = np.random.default_rng(6), transformer(text)
    corners = np.array([make(record, rng)[0][:2, 0, 0] for _ in range(DRAWS)])
    for corner, spare in ((corners[:, 0], 50), (corners[:, 1], 30)):
        counts = np.bincount(corner.astype(int), minlength=spare + 1)
        assert len(counts) == spare + 1
        expected = DRAWS / (spare + 1)
        # A count is Poisson's: five of its standard deviations.
        assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)
    middle = transformer(text, pb.TEST)(record, rng)[0]
    assert middle[:2, 0, 0].tolist() == [25, 15]
