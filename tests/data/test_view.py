"""Expansion, crop and resize in one step equal the steps on a real canvas."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchdet_caffe.data.view import View, resized, seen

FILL = np.array([104, 117, 123], np.uint8)
MODES = {
    "linear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "nearest": cv2.INTER_NEAREST,
    "cubic": cv2.INTER_CUBIC,
    "lanczos4": cv2.INTER_LANCZOS4,
}


def smooth_picture(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(3).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def on_canvas(pixels: np.ndarray, view: View) -> np.ndarray:
    """What the view shows, by way of a canvas around the picture."""
    height, width = pixels.shape[:2]
    pad = 4 * max(height, width)
    canvas = cv2.copyMakeBorder(
        pixels, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=FILL.tolist()
    )
    return canvas[view.top + pad :, view.left + pad :][: view.height, : view.width].copy()


VIEWS = {
    "whole picture": View(0, 0, 96, 72),
    "crop inside": View(11, 9, 50, 40),
    "expanded": View(-60, -31, 250, 190),
    "expanded 4 times": View(-200, -100, 384, 288),
    "crop of an expansion, cutting the picture": View(30, -50, 130, 95),
    "crop of an expansion without picture": View(-150, -150, 100, 90),
    "small crop over a corner": View(80, 60, 28, 30),
    "one column of field": View(0, 0, 97, 72),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_equals_the_canvas(view: View, mode: str) -> None:
    pixels = smooth_picture(72, 96)
    expected = cv2.resize(on_canvas(pixels, view), (50, 60), interpolation=MODES[mode])
    found = resized(seen(pixels, view, FILL), (50, 60), MODES[mode])
    difference = np.abs(found.astype(int) - expected)
    if mode == "area":
        assert difference.max() <= 1
    elif mode == "nearest":
        # On a tie of rounding a row or column may come from the neighbouring pixels.
        assert (difference > 0).mean() < 0.05
    else:
        # Another path through OpenCV: sample points rounded to 1/32 pixel.
        assert difference.max() <= 8
        assert difference.mean() < 0.4


def test_a_view_inside_the_picture_is_resized_exactly() -> None:
    pixels, view = smooth_picture(72, 96), View(11, 9, 50, 40)
    for mode in MODES.values():
        expected = cv2.resize(pixels[9:49, 11:61], (30, 33), interpolation=mode)
        np.testing.assert_array_equal(resized(seen(pixels, view, FILL), (30, 33), mode), expected)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(-80, 80),
    st.integers(-80, 80),
    st.integers(1, 200),
    st.integers(1, 200),
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from(list(MODES.values())),
)
def test_any_view_gives_the_size_asked(
    left: int, top: int, width: int, height: int, out_w: int, out_h: int, mode: int
) -> None:
    view = View(left, top, width, height)
    patch = seen(smooth_picture(40, 60), view, FILL)
    assert resized(patch, (out_w, out_h), mode).shape == (out_h, out_w, 3)
    # Without a resize every pixel is the canvas's own.
    same = resized(patch, (width, height), cv2.INTER_NEAREST)
    np.testing.assert_array_equal(same, on_canvas(smooth_picture(40, 60), view))
