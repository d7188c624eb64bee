"""Nets written in Python: `layers`, `params`, `NetSpec`, `to_proto`."""

from __future__ import annotations

import pytest

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.pycaffe import NetSpec, layers, params, to_proto
from scratchdet_caffe.pycaffe.net_spec import assign_proto, param_name_dict

L, P = layers, params

LENET = """
layer { name: "data" type: "Data" top: "data" top: "label"
  transform_param { scale: 0.5 mean_value: 104 mean_value: 117 }
  data_param { source: "lmdb" batch_size: 64 backend: LMDB } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 20 kernel_size: 5 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layer { name: "score" type: "InnerProduct" bottom: "pool1" top: "score"
  inner_product_param { num_output: 10 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"
  loss_weight: 0.5 loss_param { ignore_label: 255 } include { phase: TRAIN } }
"""


def lenet() -> NetSpec:
    n = NetSpec()
    n.data, n.label = L.Data(
        batch_size=64,
        backend=P.Data.LMDB,
        source="lmdb",
        transform_param={"scale": 0.5, "mean_value": [104, 117]},
        ntop=2,
    )
    n.conv1 = L.Convolution(
        n.data,
        num_output=20,
        kernel_size=5,
        weight_filler={"type": "xavier"},
        param=[{"lr_mult": 1}, {"lr_mult": 2, "decay_mult": 0}],
    )
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n.pool1 = L.Pooling(n.relu1, kernel_size=2, stride=2, pool=P.Pooling.AVE)
    n.score = L.InnerProduct(n.pool1, num_output=10)
    n.loss = L.SoftmaxWithLoss(
        n.score,
        n.label,
        loss_weight=0.5,
        loss_param={"ignore_label": 255},
        include={"phase": 0},
    )
    return n


def test_a_net_spec_is_the_prototxt_that_one_would_write() -> None:
    assert lenet().to_proto() == parse_text(LENET, pb.NetParameter)


def test_layers_without_a_name_are_numbered_by_type() -> None:
    n = NetSpec()
    n.data = L.Input(shape={"dim": [1, 3, 8, 8]})
    n.out = L.Eltwise(L.ReLU(L.Convolution(n.data, num_output=3)), L.ReLU(n.data), operation="MAX")
    names = [layer.name for layer in n.to_proto().layer]
    assert names == ["data", "Convolution1", "ReLU1", "ReLU2", "out"]
    net = to_proto(L.Sigmoid(L.Input(shape={"dim": [1]})))
    assert [layer.top[0] for layer in net.layer] == ["Input1", "Sigmoid1"]


def test_tops_by_item_and_layers_without_tops() -> None:
    n = NetSpec()
    n["data"], n["label"] = L.Input(ntop=2, shape=[{"dim": [2, 3]}, {"dim": [2]}])
    n.silent = L.Silence(n["label"], n.data, ntop=0)
    net = n.to_proto()
    assert [layer.type for layer in net.layer] == ["Input", "Silence"]
    assert list(net.layer[1].bottom) == ["label", "data"] and not net.layer[1].top
    del n["silent"]
    assert len(n.to_proto().layer) == 1
    with pytest.raises(AttributeError, match="no top 'lable'.*did you mean 'label'"):
        _ = n.lable


def test_the_habits_of_ssds_scripts() -> None:
    n = NetSpec()
    n.data = L.Input(shape={"dim": [1, 3, 8, 8]})
    n.up = L.Deconvolution(n.data, num_output=2, kernel_size=4, stride=2)
    n.quiet = L.Silence(n.up)
    assert n.keys() == ["data", "up", "quiet"] and n.vals()[1] is n.up
    n.update("up", {"param": [{"lr_mult": 0}], "pad": 1})
    up, quiet = n.to_proto().layer[1:]
    assert (up.convolution_param.num_output, list(up.convolution_param.pad)) == (2, [1])
    assert up.param[0].lr_mult == 0 and not quiet.top
    message = pb.LayerParameter()
    assign_proto(message, "prior_box_param", {"min_size": 30, "aspect_ratio": [2, 3]})
    assert list(message.prior_box_param.aspect_ratio) == [2, 3]
    assert param_name_dict()["Normalize"] == "norm"


def test_deep_nets_do_not_recurse() -> None:
    top = L.Input(shape={"dim": [1]})
    for _ in range(3000):
        top = L.ReLU(top)
    assert len(top.to_proto().layer) == 3001


def test_detection_layers_and_enums_of_the_ssd_branch() -> None:
    data = L.Input(shape={"dim": [1, 3, 300, 300]})
    prior = L.PriorBox(
        data, data, min_size=30, max_size=60, aspect_ratio=[2, 3], variance=[0.1, 0.1, 0.2, 0.2]
    )
    layer = prior.to_proto().layer[-1].prior_box_param
    assert list(layer.min_size) == [30] and list(layer.aspect_ratio) == [2, 3]
    loss = L.MultiBoxLoss(
        data, multibox_loss_param={"loc_loss_type": P.MultiBoxLoss.SMOOTH_L1, "num_classes": 21}
    )
    assert loss.to_proto().layer[-1].multibox_loss_param.num_classes == 21


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: L.Convolution(num_ouput=3), "no field 'num_ouput'.*did you mean 'num_output'"),
        (lambda: L.Convolution(num_output="three"), "Convolution: num_output cannot be 'three'"),
        (lambda: L.Pooling(pool="MOX"), "pool cannot be 'MOX'"),
        (lambda: L.Silence(num_output=3), "LayerParameter has no field 'num_output'"),
    ],
)
def test_mistakes_are_sentences(make: object, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        make().to_proto()  # type: ignore[operator]


def test_a_bottom_must_be_one_top() -> None:
    both = L.Input(ntop=2)
    with pytest.raises(TypeError, match="give its tops one by one"):
        L.ReLU(both)
    with pytest.raises(AttributeError, match="no PolingParameter"):
        _ = P.Poling
