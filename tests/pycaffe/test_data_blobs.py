"""Blobs that data layers fill, and what a program writes into them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import scratchdet_caffe.pycaffe as caffe

NET = """
force_backward: true
layer { name: "data" type: "DummyData" top: "x" top: "noise" dummy_data_param {
  shape { dim: 2 dim: 3 } data_filler { type: "constant" value: 7 }
  data_filler { type: "gaussian" } } }
layer { name: "double" type: "Power" bottom: "x" top: "y" power_param { scale: 2 } }
layer { name: "sum" type: "Eltwise" bottom: "y" bottom: "noise" top: "z" }
"""


@pytest.fixture
def net() -> caffe.Net:
    Path("dummy.prototxt").write_text(NET)
    return caffe.Net("dummy.prototxt", caffe.TEST)


def test_a_constant_of_dummy_data_is_there_from_the_start_and_can_be_written_over(net) -> None:
    assert (net.blobs["x"].data == 7).all()
    first = net.forward(blobs=["y", "noise"])
    assert (first["y"] == 14).all()
    noise = first["noise"].copy()
    net.blobs["x"].data[...] = [1, 2, 3]
    again = net.forward(blobs=["y", "noise"])
    np.testing.assert_array_equal(again["y"], [[2, 4, 6]] * 2)
    assert (again["noise"] != noise).all()


def test_a_constant_of_dummy_data_takes_another_shape(net) -> None:
    net.blobs["x"].reshape(5, 3)
    net.blobs["x"].data[...] = 1
    assert (net.forward(end="double")["y"] == np.full((5, 3), 2)).all()
    net.blobs["x"].reshape(2, 3)
    net.reshape()
    assert net.blobs["x"].data.shape == net.blobs["y"].data.shape == (2, 3)


def test_a_forced_gradient_reaches_what_a_data_layer_made(net) -> None:
    net.forward()
    net.backward(z=np.ones((2, 3)))
    assert (net.blobs["x"].diff == 2).all()
    assert (net.blobs["noise"].diff == 1).all()


def test_a_solver_trains_on_what_was_written_over_a_constant() -> None:
    text = NET.replace("force_backward: true", "").replace('type: "gaussian"', 'type: "constant"')
    text += """
    layer { name: "ip" type: "InnerProduct" bottom: "z" top: "ip"
            inner_product_param { num_output: 1 weight_filler { type: "constant" value: 1 } } }
    layer { name: "loss" type: "Reduction" bottom: "ip" top: "loss" loss_weight: 1 }
    """
    Path("dummy.prototxt").write_text(text)
    Path("solver.prototxt").write_text(
        'net: "dummy.prototxt" base_lr: 0 lr_policy: "fixed" test_iter: 1 test_interval: 100'
    )
    solver = caffe.get_solver("solver.prototxt")
    assert solver.net.blobs["x"].data[0, 0] == 7
    solver.net.blobs["x"].data[...] = [1, 2, 3]
    solver.step(1)
    assert solver.net.blobs["loss"].data == 2 * 2 * 6
    solver.test_nets[0].blobs["x"].data[...] = 0
    solver.test_nets[0].forward()
    assert solver.test_nets[0].blobs["loss"].data == 0
