"""Weights that others trained and published: they load, and give what real Caffe gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text, read_model
from scratchdet_caffe.engine.net import Net
from scratchdet_caffe.engine.weights import load_weights
from scratchdet_caffe.errors import UserError

ZOO = Path(__file__).parents[3] / "shared" / "zoo" / "caffemodel"
FOLDERS = sorted(path.parent.name for path in ZOO.glob("*/golden.json"))
LEGACY = Path(__file__).parents[3] / "shared" / "golden" / "legacy"
DIALECT = ZOO / "_dialect_nvcaffe_fp16raw"
MEAN = np.array([104, 117, 123], np.float32)  # of BGR, as Caffe's own models subtract it

# (H, W, C) pixels, BGR, 0-255 -> what the authors fed, from the golden's words.
PREPARE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "imagenet": lambda x: (x - MEAN) * np.float32(0.017),
    "mobilenet": lambda x: (x - 127.5) * 0.007843,
    "mtcnn": lambda x: (x[:, :, ::-1].transpose(1, 0, 2) - 127.5) * 0.0078125,  # RGB, lying
    "sfd": lambda x: x - MEAN,
    "ultraface": lambda x: (x - 127) / 128,
    "wechat": lambda x: x[:, :, :1] / 255,
}


def input_of(name: str) -> np.ndarray:
    """The golden's input, (1, C, H, W)."""
    pixels = cv2.imread(str(ZOO / name / "input.png"), cv2.IMREAD_COLOR).astype(np.float32)
    prepared = PREPARE[name.split("_")[0]](pixels)
    return np.ascontiguousarray(prepared.transpose(2, 0, 1)[None], np.float32)


def same_detections(got: np.ndarray, want: np.ndarray) -> None:
    """Rows (image, label, score, box) in any order: nearly equal scores may change places."""
    assert len(got) == len(want)
    apart = np.abs(got[:, None] - want[None]).max(axis=2)
    assert apart.min(axis=0).max() < 1e-4  # each of theirs is among ours
    assert apart.min(axis=1).max() < 1e-4  # and each of ours among theirs


@pytest.mark.skipif(not FOLDERS, reason="needs ../shared/zoo/caffemodel")
@pytest.mark.parametrize("name", FOLDERS)
def test_published_weights_give_the_references_outputs(name: str) -> None:
    prototxt = ZOO / name / "deploy.prototxt"
    net = caffe.Net(str(prototxt), str(ZOO / name / "weights.caffemodel"), caffe.TEST)
    image = input_of(name)
    (data,) = net.inputs
    net.blobs[data].reshape(*image.shape)
    net.reshape()
    net.blobs[data].data[...] = image
    net.forward()
    for blob, facts in json.loads((ZOO / name / "golden.json").read_text())["outputs"].items():
        want, got = np.load(ZOO / name / facts["file"]), net.blobs[blob].data
        if blob.startswith("detection_out"):
            rows = got.reshape(-1, 7)
            same_detections(rows[rows.any(axis=1)], want)
        else:
            assert got.shape == want.shape
            worst = np.abs(got - want).max() / np.abs(want).max()
            assert worst <= 1e-4, f"{blob}: off by {worst:.1e} of its largest value"


@pytest.mark.skipif(not DIALECT.is_dir(), reason="needs ../shared/zoo/caffemodel")
def test_weights_in_fields_of_another_fork_are_not_read_as_zeros() -> None:
    net = Net(
        parse_text(
            'layer { name: "data" type: "Input" top: "data" '
            "  input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }"
            'layer { name: "Conv" type: "Convolution" bottom: "data" top: "Conv" '
            "  convolution_param { num_output: 48 kernel_size: 3 "
            "    weight_filler { type: 'msra' } } }",
            pb.NetParameter,
        ),
        pb.TEST,
    )
    before = net.params[0].tensor.detach().clone()
    with pytest.raises(UserError) as caught:
        load_weights(net, DIALECT / "weights.caffemodel")
    sentence = str(caught.value)
    assert "blob 0 of layer 'Conv'" in sentence
    assert "fields [10, 12] of another Caffe's dialect (NVCaffe" in sentence
    assert before.equal(net.params[0].tensor.detach())


@pytest.mark.skipif(not LEGACY.is_dir(), reason="needs ../shared/golden/legacy")
def test_v1_weights_load_with_their_blobs_of_four_dims() -> None:
    text = (
        'name: "n" input: "x" input_dim: 1 input_dim: 3 input_dim: 3 input_dim: 5 '
        'layers { name: "conv1" type: CONVOLUTION bottom: "x" top: "c" '
        "  convolution_param { num_output: 4 kernel_size: 3 } }"
        'layers { name: "ip1" type: INNER_PRODUCT bottom: "c" top: "y" '
        "  inner_product_param { num_output: 5 } }"
    )
    old = parse_text(text, pb.NetParameter)
    net = Net(old, pb.TEST)
    load_weights(net, LEGACY / "v1_weights.caffemodel")
    blobs = [
        blob for layer in read_model(LEGACY / "v1_weights.caffemodel").layer for blob in layer.blobs
    ]
    shapes = [tuple(param.tensor.shape) for param in net.params]
    assert shapes == [(4, 3, 3, 3), (4,), (5, 12), (5,)]
    for param, blob in zip(net.params, blobs, strict=True):
        np.testing.assert_array_equal(param.tensor.detach().numpy().ravel(), blob.data)
