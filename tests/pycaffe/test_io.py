"""`caffe.io`: images, the Transformer, blobs and datums; Classifier and Detector over them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe.errors import UserError

RNG = np.random.default_rng(2)


def test_images_are_rgb_between_0_and_1() -> None:
    pixels = RNG.integers(0, 256, (5, 7, 3), np.uint8)
    cv2.imwrite("image.png", pixels[:, :, ::-1])
    image = caffe.io.load_image("image.png")
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, pixels / 255, rtol=1e-6)
    assert caffe.io.load_image("image.png", color=False).shape == (5, 7, 1)
    cv2.imwrite("gray.png", pixels[:, :, 0])
    assert caffe.io.load_image("gray.png").shape == (5, 7, 3)
    Path("text.png").write_text("no image")
    with pytest.raises(UserError, match="text.png: not an image"):
        caffe.io.load_image("text.png")
    with pytest.raises(UserError, match="nowhere.png"):
        caffe.io.load_image("nowhere.png")


def test_resizing_keeps_channels_and_constant_images() -> None:
    image = np.full((4, 6, 5), 0.25, np.float32)
    for order in (0, 1, 3):
        np.testing.assert_allclose(caffe.io.resize_image(image, (8, 3), order), 0.25, rtol=1e-6)
    assert caffe.io.resize_image(image[:, :, :1], (2, 2)).shape == (2, 2, 1)
    with pytest.raises(UserError, match="interp_order"):
        caffe.io.resize_image(image, (8, 3), 2)


def test_oversampling_takes_corners_centre_and_mirrors() -> None:
    image = np.arange(5 * 7).reshape(5, 7, 1).astype(np.float32)
    crops = caffe.io.oversample([image, image + 100], (3, 5))
    assert crops.shape == (20, 3, 5, 1)
    for i, (y, x) in enumerate([(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)]):
        np.testing.assert_array_equal(crops[i], image[y : y + 3, x : x + 5])
        np.testing.assert_array_equal(crops[5 + i], crops[i][:, ::-1])
        np.testing.assert_array_equal(crops[10 + i], crops[i] + 100)
    with pytest.raises(UserError, match="do not fit"):
        caffe.io.oversample([image], (6, 5))


def test_the_transformer_prepares_in_caffes_order() -> None:
    t = caffe.io.Transformer({"data": (1, 3, 4, 5)})
    t.set_transpose("data", (2, 0, 1))
    t.set_channel_swap("data", (2, 1, 0))
    t.set_raw_scale("data", 255)
    t.set_mean("data", np.array([104, 117, 123]))
    t.set_input_scale("data", 0.5)
    image = RNG.random((4, 5, 3)).astype(np.float32)
    want = (image[:, :, ::-1] * 255 - [104, 117, 123]) * 0.5
    np.testing.assert_allclose(t.preprocess("data", image), want.transpose(2, 0, 1), rtol=1e-4)
    assert t.preprocess("data", RNG.random((9, 8, 3))).shape == (3, 4, 5)
    back = t.deprocess("data", t.preprocess("data", image))
    np.testing.assert_allclose(back, image, atol=1e-5)


def test_the_transformer_refuses_what_does_not_fit() -> None:
    t = caffe.io.Transformer({"data": (1, 3, 4, 5)})
    with pytest.raises(UserError, match="no input 'date'.*did you mean 'data'"):
        t.preprocess("date", np.zeros((4, 5, 3)))
    for call, value in (
        (t.set_transpose, (1, 0)),
        (t.set_channel_swap, (0, 1)),
        (t.set_mean, np.zeros(2)),
        (t.set_mean, np.zeros((3, 5, 4))),
    ):
        with pytest.raises(ValueError):
            call("data", value)


@given(arrays(np.float32, array_shapes(min_dims=1, max_dims=5, max_side=4)))
def test_blobs_round_trip(array: np.ndarray) -> None:
    blob = caffe.io.array_to_blobproto(array, -array)
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob), array)
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob, True), -array)
    text = caffe.io.arraylist_to_blobprotovector_str([array, array])
    assert len(caffe.io.blobprotovector_str_to_arraylist(text)) == 2


@given(st.sampled_from([np.uint8, np.float64]), st.data())
def test_datums_round_trip(kind: type, data: st.DataObject) -> None:
    values = st.integers(0, 255) if kind is np.uint8 else st.integers(-9, 9).map(float)
    shape = array_shapes(min_dims=3, max_dims=3, max_side=4)
    array = data.draw(arrays(kind, shape, elements=values))
    datum = caffe.io.array_to_datum(array, 7)
    again = caffe.proto.caffe_pb2.Datum.FromString(datum.SerializeToString())
    assert again.label == 7
    np.testing.assert_array_equal(caffe.io.datum_to_array(again), array)


def test_damaged_blobs_and_encoded_datums_are_sentences() -> None:
    blob = caffe.io.array_to_blobproto(np.zeros((2, 3)))
    blob.shape.dim[0] = 3
    with pytest.raises(UserError, match="6 values for shape"):
        caffe.io.blobproto_to_array(blob)
    with pytest.raises(UserError, match="encoded"):
        caffe.io.datum_to_array(caffe.proto.caffe_pb2.Datum(encoded=True, data=b"x"))


@pytest.fixture
def weights(conv_net: caffe.Net) -> str:
    conv_net.save("w.caffemodel")
    return "w.caffemodel"


def test_a_classifier_averages_over_crops(weights: str) -> None:
    classifier = caffe.Classifier(
        "small.prototxt", weights, image_dims=(8, 9), mean=np.zeros(3), channel_swap=(2, 1, 0)
    )
    pictures = [RNG.random((11, 13, 3)).astype(np.float32) for _ in range(3)]
    scores = classifier.predict(pictures)
    assert scores.shape == (3, 5)
    np.testing.assert_allclose(scores.sum(1), 1, rtol=1e-5)
    centre = classifier.predict(pictures[:1], oversample=False)
    resized = caffe.io.resize_image(pictures[0], (8, 9))[1:7, 1:7, ::-1]
    want = classifier.forward_all(data=resized.transpose(2, 0, 1)[np.newaxis])["prob"]
    np.testing.assert_allclose(centre, want, rtol=1e-5)


def test_a_detector_scores_windows(weights: str) -> None:
    cv2.imwrite("image.png", RNG.integers(0, 256, (20, 30, 3), np.uint8))
    detector = caffe.Detector("small.prototxt", weights, mean=np.full(3, 0.5), context_pad=1)
    windows = np.array([[2, 3, 12, 18], [0, 0, 20, 30], [5, 5, 9, 9]])
    found = detector.detect_windows([("image.png", windows)])
    assert [d["filename"] for d in found] == ["image.png"] * 3
    np.testing.assert_array_equal([d["window"] for d in found], windows)
    assert all(d["prediction"].shape == (5,) for d in found)
    # What the context shows beyond the image is the mean, which the net sees as 0.
    crop = detector.crop(np.zeros((20, 30, 3), np.float32), windows[1])
    np.testing.assert_allclose(crop[0], 0.5, atol=1e-6)
    np.testing.assert_allclose(crop[2:4, 2:4], 0, atol=1e-6)
    assert detector.detect_windows([]) == []
    with pytest.raises(UserError, match="detect_windows"):
        detector.detect_selective_search(["image.png"])
