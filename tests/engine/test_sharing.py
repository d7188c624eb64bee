"""Parameters that layers share by name: what they must agree in, and what becomes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.engine.errors import LayerError
from scratchdet_caffe.engine.net import Net

NET = """
force_backward: true
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "one" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" %s }
        inner_product_param { num_output: 4 bias_term: false weight_filler { type: "xavier" } } }
layer { name: "two" type: "InnerProduct" bottom: "x" top: "b" param { name: "w" %s }
        inner_product_param { num_output: 4 bias_term: false } }
"""
TRANSPOSED = NET.replace("4 bias_term: false }", "4 bias_term: false transpose: true }")


def net(first: str, second: str, text: str = NET) -> Net:
    return Net(parse_text(text % (first, second), pb.NetParameter), pb.TRAIN)


@pytest.mark.parametrize(
    ("first", "second", "want"),
    [
        ("lr_mult: 3 decay_mult: 0", "", (3, 0)),
        ("", "lr_mult: 3 decay_mult: 0", (3, 0)),  # the first to say it decides
        ("lr_mult: 3", "lr_mult: 3 decay_mult: 5", (3, 5)),
    ],
)
def test_whoever_speaks_of_a_multiplier_decides(first: str, second: str, want: tuple) -> None:
    (param,) = net(first, second).params
    assert (param.layer, param.lr_mult, param.decay_mult) == ("one", *want)


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        ("lr_mult: 3", "lr_mult: 1", "layer 'one', but with lr_mult 1, not 3"),
        ("decay_mult: 1", "decay_mult: 0", "layer 'one', but with decay_mult 0, not 1"),
    ],
)
def test_who_contradicts_is_refused(first: str, second: str, sentence: str) -> None:
    with pytest.raises(LayerError, match=rf"layer 'two' .*: shares param 'w' with {sentence}"):
        net(first, second)


def test_another_shape_needs_permission() -> None:
    with pytest.raises(LayerError, match=r"layer 'two' .*shapes differ, \(4, 3\) and \(3, 4\)"):
        net("", "", TRANSPOSED)
    fewer = TRANSPOSED.replace("4 bias_term: false transpose", "5 bias_term: false transpose")
    with pytest.raises(LayerError, match=r"layer 'two' .*counts differ, \(4, 3\) and \(3, 5\)"):
        net("", "share_mode: PERMISSIVE", fewer)


def test_with_permission_each_layer_sees_the_numbers_in_its_own_shape(tmp_path: Path) -> None:
    prototxt = tmp_path / "net.prototxt"
    prototxt.write_text(TRANSPOSED % ("", "share_mode: PERMISSIVE"))
    permissive = caffe.Net(prototxt, caffe.TEST)
    mine, theirs = (permissive.params[layer][0] for layer in ("one", "two"))
    assert (mine.data.shape, theirs.data.shape, theirs.shape) == ((4, 3), (3, 4), (3, 4))
    mine.data[...] = np.arange(12).reshape(4, 3)
    np.testing.assert_array_equal(theirs.data, np.arange(12).reshape(3, 4))
    x = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    out = permissive.forward(x=x)
    np.testing.assert_array_equal(out["a"], x @ mine.data.T)
    np.testing.assert_array_equal(out["b"], x @ theirs.data)
    seed = np.ones((2, 4), np.float32)
    permissive.backward(a=seed, b=2 * seed)
    want = (seed.T @ x).ravel() + (x.T @ (2 * seed)).ravel()
    np.testing.assert_array_equal(mine.diff.ravel(), want)
    np.testing.assert_array_equal(theirs.diff.ravel(), want)
    permissive.save(tmp_path / "w.caffemodel")
    again = caffe.Net(prototxt, caffe.TEST, weights=tmp_path / "w.caffemodel")
    np.testing.assert_array_equal(again.params["two"][0].data, theirs.data)


def test_a_shared_gradient_is_the_sum_over_its_layers() -> None:
    both = net("", "")
    weight = both.params[0].tensor
    blobs = both({"x": torch.ones(2, 3)})
    (blobs["a"].sum() + 10 * blobs["b"].sum()).backward()
    assert (weight.grad == 22).all()
