"""Receptive fields: worked out by hand, and against the gradient of a net of ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scratchdet_caffe.analysis.read import read_view
from scratchdet_caffe.analysis.receptive import fields
from scratchdet_caffe.analysis.view import NetView, view_net
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.engine import load

SIDE = 128


def field_of(view: NetView, blob: str) -> tuple[float, Fraction]:
    field = fields(view)[view.graph.last[blob]]
    assert field.size[0] == field.size[1]
    assert field.stride[0] == field.stride[1]
    return field.size[0], field.stride[0]


@pytest.mark.parametrize(
    ("blob", "size", "stride"),
    [
        ("conv1_2", 5, 1),  # two 3x3: 1 + 2 + 2
        ("pool1", 6, 2),
        ("conv2_2", 14, 2),  # 6 + 2 x 2 x 2
        ("conv3_3", 40, 4),  # 14, a pool of 2: 16, three 3x3 at stride 4: + 24
        ("conv4_3_norm", 92, 8),  # 40 + 4, + 3 x 16
        ("pool5", 228, 16),  # 92 + 8 + 3 x 32, and a 3x3 pool of stride 1: + 32
        ("fc7", 420, 16),  # 3x3 of dilation 6: + 12 x 16
        ("conv6_2", 452, 32),
        ("conv7_2", 516, 64),
        ("conv9_2", 772, 64),
    ],
)
def test_fields_of_ssd300(blob: str, size: int, stride: int, zoo: Path) -> None:
    view = read_view(zoo / "shangzw12+ssd/models/VGGNet/VOC0712/SSD_300x300/train.prototxt")
    assert field_of(view, blob) == (size, stride)


def test_a_transfer_connection_block_sees_what_comes_from_above(zoo: Path) -> None:
    folder = "871864580+RefineDet/models/VGGNet/VOC0712/refinedet_vgg16_320x320"
    view = read_view(zoo / folder / "deploy.prototxt")
    assert field_of(view, "conv6_2") == (468, 64)
    # TL6_1, TL6_2 and P6 are 3x3 at stride 64.
    assert field_of(view, "P6") == (468 + 3 * 128, 64)
    # A 2x2 deconvolution of stride 2 hands each cell on to four: fields stay, the stride halves.
    assert field_of(view, "P6-up") == (852, 32)
    # Three cells of P5 cover at most two of P6.
    assert field_of(view, "P5") == (852 + 64, 32)


def test_inner_products_and_global_pools_see_everything(zoo: Path) -> None:
    view = read_view(zoo / "BVLC+caffe/models/bvlc_alexnet/train_val.prototxt")
    assert field_of(view, "pool5") == (195, 32)
    assert field_of(view, "fc8")[0] == math.inf
    view = read_view(zoo / "shicai+MobileNet-Caffe/mobilenet_deploy.prototxt")
    assert field_of(view, "pool6")[0] == math.inf


def test_predictions_in_rows_and_priors_have_none(zoo: Path) -> None:
    view = read_view(zoo / "chuanqi305+MobileNet-SSD/voc/MobileNetSSD_deploy.prototxt")
    seen = fields(view)
    for blob in ("mbox_loc", "mbox_conf_softmax", "mbox_priorbox", "conv13_mbox_loc_perm"):
        assert view.graph.last[blob] not in seen


def test_height_and_width_may_differ(view: Callable[..., NetView]) -> None:
    net = view(
        'input: "x" input_shape { dim: 1 dim: 1 dim: 40 dim: 40 }'
        'layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param {'
        "num_output: 1 kernel_h: 1 kernel_w: 5 stride_h: 1 stride_w: 2 } }"
    )
    field = fields(net)[net.graph.last["c"]]
    assert field.size == (1, 5)
    assert field.stride == (1, 2)


def test_cells_that_a_deconvolution_leaves_empty_see_nothing(view: Callable[..., NetView]) -> None:
    net = view(
        'input: "x" input_shape { dim: 1 dim: 1 dim: 8 dim: 8 }'
        'layer { name: "up" type: "Deconvolution" bottom: "x" top: "up" convolution_param {'
        "num_output: 1 kernel_size: 1 stride: 3 } }"
        'layer { name: "c" type: "Convolution" bottom: "up" top: "c" convolution_param {'
        "num_output: 1 kernel_size: 4 } }"
    )
    assert field_of(net, "up") == (1, Fraction(1, 3))
    assert field_of(net, "c") == (2, Fraction(1, 3))  # cells 0..3 of "up" hold cells 0 and 1 of "x"


def layer(kind: str, name: str, bottom: str, body: str) -> str:
    param = "pooling_param { pool: AVE" if kind == "Pooling" else "convolution_param {"
    weights = (
        "" if kind == "Pooling" else 'num_output: 1 weight_filler { type: "constant" value: 1 }'
    )
    head = f'name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{name}"'
    return f"layer {{ {head} {param} {weights} {body} }} }}"


def window(kernel: int, stride: int, pad: int) -> str:
    """A window on a map that is one cell high."""
    return f"kernel_h: 1 kernel_w: {kernel} stride_h: 1 stride_w: {stride} pad_h: 0 pad_w: {pad}"


@st.composite
def chains(draw: st.DrawFn) -> str:
    """A chain of windows, sometimes with a sum of two paths, small enough for the input."""
    lines = [f'force_backward: true input: "x" input_shape {{ dim: 1 dim: 1 dim: 1 dim: {SIDE} }}']
    bottom = "x"
    for i in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["Convolution", "Pooling", "Deconvolution"]))
        kernel = draw(st.integers(1, 4))
        stride = draw(st.integers(1, min(kernel, 2)))
        pad = draw(st.integers(0, kernel - 1))
        body = window(kernel, stride, pad)
        if kind == "Convolution" and draw(st.booleans()):
            body += f" dilation: {draw(st.integers(2, 3))}"
        lines.append(layer(kind, f"l{i}", bottom, body))
        bottom = f"l{i}"
        if draw(st.booleans()):
            wide = draw(st.sampled_from([3, 5]))
            lines.append(layer("Convolution", f"b{i}", bottom, window(wide, 1, wide // 2)))
            ends = f'bottom: "l{i}" bottom: "b{i}" top: "s{i}"'
            lines.append(f'layer {{ name: "s{i}" type: "Eltwise" {ends} }}')
            bottom = f"s{i}"
    return "\n".join(lines)


@settings(deadline=None, max_examples=40)
@given(chains())
def test_fields_equal_the_extent_of_the_gradient(text: str) -> None:
    """With all weights 1, the pixels with a gradient are those that a cell depends on."""
    param = parse_text(text, pb.NetParameter)
    view = view_net(param, "chain")
    (output,) = view.graph.outputs
    field = fields(view)[view.graph.last[output]]
    size, stride = field.size[1], field.stride[1]
    # Twenty-four cells around the middle, whose fields must lie inside.
    assume(size + 25 * stride < SIDE - 2)
    pixels = torch.zeros(1, 1, 1, SIDE, requires_grad=True)
    row = load(param)(x=pixels)[output][0, 0, 0]
    assume(len(row) >= 24)
    spans = []
    for cell in row[len(row) // 2 - 12 : len(row) // 2 + 12]:
        (gradient,) = torch.autograd.grad(cell, pixels, retain_graph=True)
        reached = gradient[0, 0, 0].nonzero()
        spans.append((int(reached[0]), int(reached[-1])))
    assert max(last - first for first, last in spans) + 1 == size
    assert (spans[16][0] - spans[0][0]) / 16 == stride
