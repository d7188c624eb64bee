"""Layers written in Python, in nets and under solvers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe.engine.errors import LayerError


class Loss(caffe.Layer):
    """Half the squared distance, times what param_str says."""

    def setup(self, bottom: list, top: list) -> None:
        self.weight = json.loads(self.param_str)["weight"]
        self.calls = 0

    def reshape(self, bottom: list, top: list) -> None:
        self.difference = np.zeros(bottom[0].shape, np.float32)
        top[0].reshape(1)

    def forward(self, bottom: list, top: list) -> None:
        self.difference[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = self.weight * (self.difference**2).sum() / bottom[0].num / 2

    def backward(self, top: list, propagate_down: list, bottom: list) -> None:
        for i, sign in enumerate((1, -1)):
            if propagate_down[i]:
                scale = sign * self.weight * top[0].diff[0] / bottom[i].num
                bottom[i].diff[...] = scale * self.difference


class Gain(caffe.Layer):
    """Multiplies by a parameter of its own, in place or not."""

    def setup(self, bottom: list, top: list) -> None:
        self.blobs.add_blob(1)
        self.blobs[0].data[...] = 3

    def reshape(self, bottom: list, top: list) -> None:
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom: list, top: list) -> None:
        top[0].data[...] = bottom[0].data * self.blobs[0].data

    def backward(self, top: list, propagate_down: list, bottom: list) -> None:
        self.blobs[0].diff[...] += (top[0].diff * bottom[0].data).sum()
        bottom[0].diff[...] = top[0].diff * self.blobs[0].data


class Counter(caffe.Layer):
    """A data layer: how often it has run, one more each time, in a batch of its phase's size."""

    def setup(self, bottom: list, top: list) -> None:
        self.count = 0
        top[0].reshape(4 if self.phase == caffe.TRAIN else 2, 3)

    def forward(self, bottom: list, top: list) -> None:
        self.count += 1
        top[0].data[...] = self.count


class Broken(caffe.Layer):
    def forward(self, bottom: list, top: list) -> None:
        raise ValueError("from my own code")


def python(layer: str, wiring: str, param: str = "", more: str = "") -> str:
    return (
        f'layer {{ name: "{layer.lower()}" type: "Python" {wiring} {more} python_param '
        f"{{ module: '{__name__}' layer: '{layer}' param_str: '{param}' }} }}\n"
    )


def write(name: str, text: str) -> str:
    Path(name).write_text(text)
    return name


DATA = (
    'layer { name: "in" type: "Input" top: "x" top: "y"\n'
    "  input_param { shape { dim: 8 dim: 3 } shape { dim: 8 dim: 1 } } }\n"
)
IP = (
    'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param {\n'
    '  num_output: 1 weight_filler { type: "constant" value: 0.5 } } }\n'
)
LOSS = python("Loss", 'bottom: "ip" bottom: "y" top: "loss"', '{"weight": 2}', "loss_weight: 1")


def test_a_python_loss_trains_as_the_built_in_one_does() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 1))
    euclidean = (
        'layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "y" top: "loss" '
        "loss_weight: 2 }"
    )
    trained = []
    for name, loss in (("ours", LOSS), ("theirs", euclidean)):
        write(f"{name}.prototxt", DATA + IP + loss)
        solver = caffe.SGDSolver(
            write(f"{name}_solver", f'net: "{name}.prototxt" base_lr: 0.1 lr_policy: "fixed"')
        )
        solver.net.blobs["x"].data[...], solver.net.blobs["y"].data[...] = x, y
        solver.step(5)
        trained.append([blob.data.copy() for blob in solver.net.params["ip"]])
    for ours, theirs in zip(*trained):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_parameters_of_a_python_layer_learn_and_are_saved() -> None:
    gain = python("Gain", 'bottom: "ip" top: "ip"')
    net = caffe.Net(write("n", DATA + IP + gain + LOSS), caffe.TRAIN)
    out = net.forward(x=np.ones((8, 3)), y=np.zeros((8, 1)))
    np.testing.assert_allclose(net.blobs["ip"].data, 4.5)
    assert out["loss"][0] == pytest.approx(4.5**2)
    net.backward()
    np.testing.assert_allclose(net.params["gain"][0].diff, [2 * 4.5 * 1.5], rtol=1e-5)
    np.testing.assert_allclose(net.params["ip"][1].diff, [2 * 4.5 * 3], rtol=1e-5)
    net.params["gain"][0].data[...] = 1
    assert net.forward(x=np.ones((8, 3)), y=np.zeros((8, 1)))["loss"][0] == pytest.approx(1.5**2)
    net.save("gain.caffemodel")
    other = caffe.Net("n", "gain.caffemodel", caffe.TRAIN)
    assert other.params["gain"][0].data[0] == 1


def test_a_python_data_layer_knows_its_phase() -> None:
    text = python("Counter", 'top: "count"')
    for phase, rows in ((caffe.TRAIN, 4), (caffe.TEST, 2)):
        net = caffe.Net(write("n", text), phase)
        assert net.blobs["count"].shape == (rows, 3)
        held = net.blobs["count"].data
        net.forward()
        first = net.forward()["count"].copy()
        assert (first == 2).all() and (held == 2).all()


def test_reshaping_reaches_the_python_layer_without_setting_it_up_again() -> None:
    net = caffe.Net(write("n", DATA + python("Gain", 'bottom: "x" top: "g"')), caffe.TEST)
    net.params["gain"][0].data[...] = 7
    net.blobs["x"].reshape(2, 5)
    net.reshape()
    assert net.blobs["g"].shape == (2, 5)
    net.blobs["x"].data[...] = 1
    net.forward()
    assert (net.blobs["g"].data == 7).all()


def test_an_error_in_the_layers_own_code_stays_its_own() -> None:
    net = caffe.Net(write("n", python("Broken", 'top: "x"')), caffe.TEST)
    with pytest.raises(ValueError, match="from my own code"):
        net.forward()


@pytest.mark.parametrize(
    ("module", "layer", "sentence"),
    [
        ("no_such_module", "Loss", "'no_such_module' cannot be imported"),
        (__name__, "Los", f"module '{__name__}' has no class 'Los'.*did you mean 'Loss'"),
        ("json", "JSONDecoder", "does not derive from caffe.Layer"),
    ],
)
def test_a_layer_that_is_not_there_is_a_sentence(module: str, layer: str, sentence: str) -> None:
    text = f'layer {{ name: "p" type: "Python" top: "x" python_param {{ module: "{module}" '
    with pytest.raises(LayerError, match=f"layer 'p' .Python.: .*{sentence}"):
        caffe.Net(write("n", text + f'layer: "{layer}" }} }}'), caffe.TEST)
    assert __name__ in sys.modules


class Roidb(caffe.Layer):
    """A data layer that its program hands the data to, as detectors' training code does."""

    def setup(self, bottom: list, top: list) -> None:
        self.scale = float(self.param_str_)
        top[0].reshape(1)

    def set_roidb(self, roidb: list[float]) -> None:
        self.roidb = roidb

    def forward(self, bottom: list, top: list) -> None:
        top[0].reshape(len(self.roidb))
        top[0].data[...] = np.array(self.roidb) * self.scale


def test_programs_talk_to_their_own_layer_through_the_net() -> None:
    net = caffe.Net(write("n", python("Roidb", 'top: "rois"', "2")), caffe.TRAIN)
    assert (net.layers[0].type, net.layer_dict["roidb"]) == ("Python", net.layers[0])
    net.layers[0].set_roidb([1, 2, 3])
    assert net.forward()["rois"].tolist() == [2, 4, 6]


def test_parameters_of_a_python_layer_are_live_in_the_layer_and_in_the_net() -> None:
    net = caffe.Net(write("n", DATA + python("Gain", 'bottom: "x" top: "g"')), caffe.TEST)
    net.params["gain"][0].data[...] = 7
    assert net.layers[1].blobs[0].data == 7
    net.layers[1].blobs[0].data[...] = 5
    assert net.params["gain"][0].data == 5
