"""Batch samplers: windows lie in the picture, have the asked shape and meet their constraint."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.data.boxes import area, coverage, jaccard
from scratchdet_caffe.data.sampler import check_samplers, draw_windows, meets, sample_window
from scratchdet_caffe.errors import UserError

OBJECTS = np.array([[0.1, 0.1, 0.4, 0.5], [0.6, 0.55, 0.9, 0.95]], np.float32)
PATCH = "sampler { min_scale: 0.3 max_scale: 1 min_aspect_ratio: 0.5 max_aspect_ratio: 2 }"


def sampler(text: str) -> pb.BatchSampler:
    return parse_text(text, pb.BatchSampler)


@given(st.integers(0, 2**32), st.floats(0.05, 1), st.floats(0.1, 1), st.floats(1, 10))
def test_windows_lie_in_the_picture(seed: int, scale: float, low: float, high: float) -> None:
    param = pb.Sampler(min_scale=scale, max_scale=1, min_aspect_ratio=low, max_aspect_ratio=high)
    windows = draw_windows(param, 40, np.random.default_rng(seed))
    assert windows.dtype == np.float32
    # No side a hair wider than 1: the reference aborts on these.
    assert (windows >= 0).all()
    assert (windows <= 1).all()
    sides = windows[:, 2:] - windows[:, :2]
    assert (sides > 0).all()
    assert (np.sqrt(area(windows)) >= scale - 1e-5).all()
    ratios = sides[:, 0] / sides[:, 1]
    assert ((ratios >= low * (1 - 1e-4)) & (ratios <= high * (1 + 1e-4))).all()


def test_the_default_sampler_takes_the_whole_picture() -> None:
    windows = draw_windows(pb.Sampler(), 3, np.random.default_rng(0))
    np.testing.assert_allclose(windows, [[0, 0, 1, 1]] * 3, atol=1e-7)


@pytest.mark.parametrize(
    ("constraint", "measure"),
    [
        ("min_jaccard_overlap: 0.3", lambda w: jaccard(w, OBJECTS).max() >= 0.3),
        ("max_jaccard_overlap: 0.2", lambda w: jaccard(w, OBJECTS).min() <= 0.2),
        ("min_sample_coverage: 0.2", lambda w: coverage(w, OBJECTS).max() >= 0.2),
        ("max_sample_coverage: 0.1", lambda w: coverage(w, OBJECTS).min() <= 0.1),
        ("min_object_coverage: 0.9", lambda w: coverage(OBJECTS, w).max() >= 0.9),
        ("max_object_coverage: 0.5", lambda w: coverage(OBJECTS, w).min() <= 0.5),
    ],
)
def test_chosen_windows_meet_their_constraint(constraint: str, measure) -> None:
    entry = sampler(f"{PATCH} sample_constraint {{ {constraint} }} max_sample: 1 max_trials: 50")
    rng, found = np.random.default_rng(1), 0
    for _ in range(50):
        window = sample_window([entry], OBJECTS, rng)
        if window is not None:
            found += 1
            assert measure(window[None])
    assert found > 25


def test_of_several_kinds_of_constraint_the_first_counts() -> None:
    both = pb.SampleConstraint(min_jaccard_overlap=0.1, min_sample_coverage=0.99)
    windows = draw_windows(sampler(PATCH).sampler, 200, np.random.default_rng(2))
    first = pb.SampleConstraint(min_jaccard_overlap=0.1)
    np.testing.assert_array_equal(meets(windows, OBJECTS, both), meets(windows, OBJECTS, first))


def test_no_window_without_objects_or_samplers() -> None:
    nothing, rng = np.zeros((0, 4), np.float32), np.random.default_rng(0)
    entry = sampler(f"{PATCH} sample_constraint {{ min_jaccard_overlap: 0.1 }}")
    assert sample_window([entry], nothing, rng) is None
    assert sample_window([sampler(f"use_original_image: false {PATCH}")], OBJECTS, rng) is None
    # A sampler without a constraint needs no object.
    assert sample_window([sampler(PATCH)], nothing, rng) is not None


def test_every_sampler_is_as_likely_as_its_windows() -> None:
    # One window of the whole picture against three of a tenth: a quarter is whole.
    small = "sampler { min_scale: 0.1 max_scale: 0.1 }"
    entries = [
        sampler("max_sample: 1 max_trials: 1"),
        sampler(f"{small} max_sample: 3 max_trials: 50"),
    ]
    rng = np.random.default_rng(3)
    windows = [sample_window(entries, OBJECTS, rng) for _ in range(2000)]
    share = np.mean([area(window) > 0.5 for window in windows])
    assert abs(share - 0.25) < 0.04


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sampler { min_scale: 0.5 max_scale: 0.3 }", "batch_sampler 2: scales"),
        ("sampler { min_scale: 0 max_scale: 0.3 }", "min_scale <= max_scale"),
        ("sampler { min_aspect_ratio: 2 }", "aspect ratios"),
    ],
)
def test_wrong_ranges_are_sentences(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        check_samplers([sampler(PATCH), sampler(text)])
