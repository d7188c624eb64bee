"""Photometric distortion: each step equals OpenCV's own arithmetic, each choice its range."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.data.distort import Distortion, distort, draw_distortion

RNG = np.random.default_rng(5)
PICTURE = RNG.integers(0, 256, (40, 50, 3), np.uint8)
NOTHING = {
    "brightness": None,
    "contrast": None,
    "saturation": None,
    "hue": None,
    "contrast_first": True,
    "order": None,
}


def added(pixels: np.ndarray, amount: float) -> np.ndarray:
    return np.rint(pixels.astype(np.float32) + np.float32(amount)).clip(0, 255).astype(np.uint8)


def scaled(pixels: np.ndarray, factor: float) -> np.ndarray:
    return np.rint(pixels * np.float32(factor)).clip(0, 255).astype(np.uint8)


def in_hsv(pixels: np.ndarray, channel: int, change, amount: float) -> np.ndarray:
    hsv = cv2.cvtColor(pixels, cv2.COLOR_BGR2HSV)
    hsv[..., channel] = change(hsv[..., channel], amount)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, PICTURE),
        ({"brightness": -30.4}, added(PICTURE, -30.4)),
        ({"contrast": 1.37}, scaled(PICTURE, 1.37)),
        ({"contrast": 0.6, "contrast_first": False}, scaled(PICTURE, 0.6)),
        ({"brightness": 25.0, "contrast": 0.7}, scaled(added(PICTURE, 25), 0.7)),
        ({"saturation": 1.4}, in_hsv(PICTURE, 1, scaled, 1.4)),
        ({"hue": 17.0}, in_hsv(PICTURE, 0, added, 17.0)),
        ({"hue": -17.0}, in_hsv(PICTURE, 0, added, -17.0)),  # saturates at 0, as in Caffe
        (
            {"brightness": 20.0, "contrast": 1.2, "hue": 5.0, "contrast_first": False},
            scaled(in_hsv(added(PICTURE, 20), 0, added, 5), 1.2),
        ),
        ({"order": (2, 0, 1)}, PICTURE[..., [2, 0, 1]]),
    ],
)
def test_steps_equal_opencv(change: dict, expected: np.ndarray) -> None:
    before = PICTURE.copy()
    np.testing.assert_array_equal(distort(PICTURE, Distortion(**{**NOTHING, **change})), expected)
    np.testing.assert_array_equal(PICTURE, before)


def test_choices_keep_their_ranges_and_probabilities() -> None:
    param = pb.DistortionParameter(
        brightness_prob=0.5,
        brightness_delta=32,
        contrast_prob=0.25,
        contrast_lower=0.5,
        contrast_upper=1.5,
        hue_prob=1,
        hue_delta=18,
        saturation_prob=0,
        random_order_prob=0.5,
    )
    rng = np.random.default_rng(0)
    drawn = [draw_distortion(param, rng) for _ in range(2000)]
    amounts = {
        name: [getattr(d, name) for d in drawn if getattr(d, name) is not None]
        for name in ("brightness", "contrast", "saturation", "hue", "order")
    }
    shares = {name: len(values) / len(drawn) for name, values in amounts.items()}
    expected = {"brightness": 0.5, "contrast": 0.25, "saturation": 0, "hue": 1, "order": 0.5}
    assert shares == pytest.approx(expected, abs=0.04)
    for name, low, high in (("brightness", -32, 32), ("contrast", 0.5, 1.5), ("hue", -18, 18)):
        values = np.array(amounts[name])
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high >= values.max() > high - 0.05 * (high - low)
    assert np.mean([d.contrast_first for d in drawn]) == pytest.approx(0.5, abs=0.04)
    assert len(set(amounts["order"])) == 6
