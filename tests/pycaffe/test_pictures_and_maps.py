"""`caffe.draw` and `caffe.coord_map`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe.caffeproto import read_net
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.pycaffe import coord_map, draw
from scratchdet_caffe.pycaffe import layers as L
from scratchdet_caffe.pycaffe import params as P


def test_a_net_as_graphviz_text(conv_net: caffe.Net) -> None:
    net = read_net("small.prototxt")
    draw.draw_net_to_file(net, "small.dot", "TB")
    text = Path("small.dot").read_text()
    assert text.startswith('digraph "small" {\n  rankdir=TB;')
    for node in ("conv\\n(Convolution)\\n4 outputs, kernel 3", "ip\\n(InnerProduct)\\n5 outputs"):
        assert f'label="{node}"' in text
    assert text.count("dir=both") == 1  # the ReLU works in place
    with pytest.raises(UserError, match="Graphviz|dot"):
        draw.draw_net(net, "LR", "no-such-format")


def test_only_the_layers_of_a_phase_are_drawn() -> None:
    Path("n").write_text('layer { name: "a" type: "ReLU" top: "x" include { phase: TEST } }')
    net = read_net("n")
    assert "ReLU" in draw.to_dot(net) and "ReLU" in draw.to_dot(net, phase=caffe.TEST)
    assert "ReLU" not in draw.to_dot(net, phase=caffe.TRAIN)


def fcn(stride: int = 32) -> tuple[object, object]:
    """The skeleton of FCN-32s: its score is known to be cropped at 19."""
    data = L.Input(ntop=1)
    top = L.Convolution(data, kernel_size=3, pad=100)
    for _i in range(5):
        top = L.ReLU(L.Convolution(top, kernel_size=3, pad=1), in_place=True)
        top = L.Pooling(top, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    top = L.Convolution(L.Dropout(top), kernel_size=7)
    deconvolution = {"num_output": 21, "kernel_size": 64, "stride": stride}
    return data, L.Deconvolution(top, convolution_param=deconvolution)


def test_the_offset_of_fcn32s_is_19() -> None:
    data, score = fcn()
    crop = coord_map.crop(score, data)
    p = crop.to_proto().layer[-1].crop_param
    assert p.axis == 2 and list(p.offset) == [19]


def test_maps_compose_to_nothing_with_their_inverse() -> None:
    data, score = fcn()
    there, back = (coord_map.coord_map_from_to(*pair) for pair in ((data, score), (score, data)))
    _, a, b = coord_map.compose(there, back)
    np.testing.assert_allclose([a[0], b[0]], [1, 0], atol=1e-9)


def test_what_has_no_map_is_a_sentence() -> None:
    data, score = fcn(16)
    with pytest.raises(UserError, match="differ in scale"):
        coord_map.crop(score, data)
    with pytest.raises(UserError, match="not made of a common one"):
        coord_map.crop(L.InnerProduct(data, num_output=3), data)
    with pytest.raises(coord_map.UndefinedMapException, match="InnerProduct"):
        coord_map.coord_map(L.InnerProduct(data).fn)
    with pytest.raises(UserError, match="outside"):
        coord_map.crop(L.Convolution(data, kernel_size=3), data)
