"""noise_param: each step, their order, what is random, and their place in the transform."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.data import Transformer
from scratchdet_caffe.data.noise import add_noise
from scratchdet_caffe.errors import UserError

PICTURE = cv2.resize(
    np.random.default_rng(5).integers(0, 256, (6, 8, 3), np.uint8), (50, 40), None, 0, 0, 2
)


def noisy(text: str, pixels: np.ndarray = PICTURE, seed: int = 0) -> np.ndarray:
    before = pixels.copy()
    param = parse_text(text, pb.NoiseParameter)
    result = add_noise(pixels, param, np.random.default_rng(seed))
    np.testing.assert_array_equal(pixels, before)
    assert result.shape == pixels.shape
    return result


def test_nothing_asked_changes_nothing() -> None:
    np.testing.assert_array_equal(noisy(""), PICTURE)


def test_decolorize_makes_all_channels_the_brightness() -> None:
    grey = noisy("decolorize: true").astype(int)
    weighted = PICTURE @ np.array([0.114, 0.587, 0.299])
    assert np.abs(grey - weighted[..., None]).max() <= 1


def test_inverse_twice_is_the_picture_and_posterize_has_four_levels() -> None:
    np.testing.assert_array_equal(noisy("inverse: true", noisy("inverse: true")), PICTURE)
    levels = noisy("posterize: true")
    assert set(np.unique(levels)) == {32, 96, 160, 224}
    assert np.abs(levels.astype(int) - PICTURE).max() <= 32


def test_blur_keeps_the_mean_and_smooths() -> None:
    blurred = noisy("gauss_blur: true").astype(float)
    assert abs(blurred.mean() - PICTURE.mean()) < 2
    assert (
        np.abs(np.diff(blurred, axis=1)).mean()
        < np.abs(np.diff(PICTURE.astype(float), axis=1)).mean()
    )


def test_erosion_takes_the_darkest_of_the_neighbours() -> None:
    dot = np.full((7, 7, 3), 200, np.uint8)
    dot[3, 3] = 10
    eroded = noisy("erode: true", dot)
    # An ellipse of 3 x 3 is a cross.
    cross = {(3, 3), (2, 3), (4, 3), (3, 2), (3, 4)}
    assert {(int(y), int(x)) for y, x in np.argwhere(eroded[..., 0] == 10)} == cross


@pytest.mark.parametrize("step", ["hist_eq", "clahe"])
def test_equalising_spreads_a_flat_picture(step: str) -> None:
    flat = (PICTURE // 4 + 90).astype(np.uint8)
    for pixels in (flat, flat[..., :1]):
        assert noisy(f"{step}: true", pixels).std() > 1.5 * pixels.std()


def test_jpeg_loses_more_at_lower_quality() -> None:
    losses = [
        np.abs(noisy(f"jpeg: {quality}").astype(int) - PICTURE).mean() for quality in (95, 20, 3)
    ]
    assert 0 < losses[0] < losses[1] < losses[2]
    np.testing.assert_array_equal(noisy("jpeg: -1"), PICTURE)


def test_salt_falls_anywhere_as_the_generator_says() -> None:
    text = "saltpepper: true saltpepper_param { fraction: 0.1 value: 1 value: 2 value: 3 }"
    hits = [np.all(noisy(text, seed=seed) == [1, 2, 3], axis=2) for seed in range(40)]
    # 200 throws of 2000 pixels hit 1 - (1 - 1/2000)^200 of them: some are hit twice.
    assert np.mean(hits) == pytest.approx(0.0952, abs=0.002)
    assert (np.mean(hits, axis=0) > 0).mean() > 0.95  # every place has its turn
    np.testing.assert_array_equal(noisy(text, seed=3), noisy(text, seed=3))
    assert (noisy("saltpepper: true saltpepper_param { fraction: 1 value: 7 }") == 7).mean() > 0.5


def test_colour_spaces() -> None:
    white = np.full((4, 5, 3), 255, np.uint8)
    assert noisy("convert_to_hsv: true", white)[0, 0].tolist() == [0, 0, 255]
    lab = noisy("convert_to_lab: true", white)
    assert lab.dtype == np.float32
    np.testing.assert_allclose(lab[0, 0], [100, 0, 0], atol=0.1)


def test_steps_come_in_the_order_of_the_reference() -> None:
    one_by_one = PICTURE
    for step in ("decolorize", "gauss_blur", "hist_eq", "erode", "posterize", "inverse"):
        one_by_one = noisy(f"{step}: true", one_by_one)
    at_once = noisy(
        "inverse: true posterize: true erode: true hist_eq: true gauss_blur: true decolorize: true"
    )
    np.testing.assert_array_equal(at_once, one_by_one)


def test_noise_comes_after_the_resize_and_before_the_crop_and_whatever_prob_says() -> None:
    layer = parse_text(
        "transform_param { force_color: true crop_size: 20 noise_param { prob: 0 inverse: true } "
        "resize_param { height: 30 width: 40 } }",
        pb.LayerParameter,
    )
    record = pb.AnnotatedDatum()
    record.datum.data, record.datum.encoded = cv2.imencode(".png", PICTURE)[1].tobytes(), True
    data, _ = Transformer(layer, pb.TEST)(record, np.random.default_rng(0))
    expected = 255 - cv2.resize(PICTURE, (40, 30))[5:25, 10:30]
    np.testing.assert_array_equal(data, expected.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("decolorize: true", "decolorize needs colour: set force_color"),
        ("jpeg: 50", "jpeg needs colour"),
        ("saltpepper: true saltpepper_param { value: 1 value: 2 value: 3 }", "3 saltpepper values"),
    ],
)
def test_a_grey_picture_takes_no_steps_of_colour(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        noisy(text, PICTURE[..., :1])
