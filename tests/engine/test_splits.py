"""Split layers: those that Caffe adds, where it adds them, and what flows through them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from google.protobuf import json_format

import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.engine.graph import build_graph
from scratchdet_caffe.engine.net import Net
from scratchdet_caffe.engine.splits import with_splits

NETS = Path(__file__).parents[3] / "shared" / "golden" / "nets"
FOUND = sorted(path.parent.name for path in NETS.glob("*/structure.json"))

NET = """
force_backward: true
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "triple" type: "Power" bottom: "x" top: "y" power_param { scale: 3 } }
layer { name: "relu" type: "ReLU" bottom: "y" top: "y" }
layer { name: "a" type: "Power" bottom: "y" top: "a" power_param { scale: 5 } }
layer { name: "b" type: "Power" bottom: "y" top: "b" power_param { scale: 7 } }
"""
COPIES = ["y_relu_0_split_0", "y_relu_0_split_1"]


@pytest.mark.skipif(not FOUND, reason="needs ../shared/golden/nets")
@pytest.mark.parametrize("name", FOUND)
def test_layers_are_added_where_the_reference_adds_them(name: str) -> None:
    facts = json.loads((NETS / name / "structure.json").read_text())["nets"]["deploy"]
    net = pb.NetParameter()
    for blob in facts["input"]:
        net.input.append(blob["name"])
        net.input_shape.add(dim=blob["shape"])
    for layer in facts["layers"]:
        wires = {key: layer[key] for key in ("name", "type", "bottom", "top")}
        json_format.ParseDict({**wires, **layer["params"]}, net.layer.add())
    graph = with_splits(build_graph(net, pb.TEST))
    assert [node.layer.name for node in graph.nodes] == facts["layers_as_built"]


@pytest.fixture
def net(tmp_path: Path) -> caffe.Net:
    (tmp_path / "net.prototxt").write_text(NET)
    return caffe.Net(tmp_path / "net.prototxt", caffe.TEST)


def test_programs_see_the_layers_and_their_blobs(net: caffe.Net) -> None:
    assert list(net.blobs) == ["x", "y", *COPIES, "a", "b"]
    assert list(net.layer_dict) == ["in", "triple", "relu", "y_relu_0_split", "a", "b"]
    assert [layer.type for layer in net.layers][3] == "Split"
    assert net.bottom_names["b"] == [COPIES[1]]
    assert net.top_names["y_relu_0_split"] == COPIES
    assert net.outputs == ["a", "b"]


def test_copies_share_their_data_and_have_gradients_of_their_own(net: caffe.Net) -> None:
    copy = net.blobs[COPIES[0]].data
    net.forward(x=[[1, 2, 3], [-1, -2, -3]])
    np.testing.assert_array_equal(copy, [[3, 6, 9], [0, 0, 0]])
    net.backward(a=np.ones((2, 3)), b=np.ones((2, 3)))
    for blob, want in zip([*COPIES, "y"], [5, 7, 12]):
        np.testing.assert_array_equal(net.blobs[blob].diff[0], [want] * 3)
    net.blobs["y"].data[...] = 2
    np.testing.assert_array_equal(net.blobs[COPIES[1]].data, np.full((2, 3), 2))
    assert (net.forward(start="b")["b"] == 14).all()
    net.blobs[COPIES[0]].data[...] = 4
    assert (net.forward(start="a")["b"] == 28).all()


def test_a_gradient_starts_at_a_copy(net: caffe.Net) -> None:
    net.forward(x=np.ones((2, 3)), end="y_relu_0_split")
    net.blobs[COPIES[0]].diff[...] = 1
    net.blobs[COPIES[1]].diff[...] = 10
    assert (net.backward(start="y_relu_0_split")["x"] == 33).all()


def test_copies_follow_the_shape_of_their_source(net: caffe.Net) -> None:
    net.blobs["x"].reshape(5, 1)
    net.reshape()
    assert net.blobs[COPIES[1]].data.shape == net.blobs[COPIES[1]].diff.shape == (5, 1)
    net.forward(x=np.ones((5, 1)))
    assert net.blobs[COPIES[1]].data.shape == (5, 1)


def test_a_weight_on_a_blob_that_is_read_moves_to_the_first_copy() -> None:
    text = NET.replace('top: "a"', 'top: "a" loss_weight: 2')
    text += 'layer { name: "c" type: "Power" bottom: "a" top: "c" loss_weight: 0.5 }'
    net = Net(parse_text(text, pb.NetParameter), pb.TEST)
    weights = {net.graph.blob_of[value]: weight for value, weight in net.loss_terms}
    assert weights == {"a_a_0_split_0": 2, "c": 0.5}
    x = torch.ones(2, 3, requires_grad=True)
    loss = net.loss(net({"x": x}))
    assert loss.item() == 2.5 * 6 * 15
    loss.backward()
    assert (x.grad == 2.5 * 15).all()


def test_splits_that_nobody_looks_at_are_not_run() -> None:
    net = Net(parse_text(NET, pb.NetParameter), pb.TEST)
    (split,) = (layer for layer in net.layers if layer.param.type == "Split")
    ran = []
    split.register_forward_hook(lambda *_: ran.append(True))
    net({"x": torch.ones(2, 3)})
    assert not ran
    net({"x": torch.ones(2, 3)}, keep=COPIES)
    assert ran
