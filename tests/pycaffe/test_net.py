"""`caffe.Net`: live arrays, partial passes, reshaping, surgery, files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe.errors import UserError

RNG = np.random.default_rng(0)


def images(count: int = 2) -> np.ndarray:
    return RNG.normal(size=(count, 3, 6, 6)).astype(np.float32)


def test_names_and_shapes_are_those_of_the_prototxt(conv_net: caffe.Net) -> None:
    assert conv_net.inputs == ["data"]
    assert conv_net.outputs == ["prob"]
    assert list(conv_net.blobs) == ["data", "conv", "ip", "prob"]
    assert list(conv_net.params) == ["conv", "ip"]
    assert conv_net._layer_names == ["data", "conv", "relu", "ip", "prob"]
    assert [layer.type for layer in conv_net.layers] == [
        *("Input", "Convolution", "ReLU", "InnerProduct", "Softmax")
    ]
    assert conv_net.layer_dict["conv"].blobs[0].shape == (4, 3, 3, 3)
    assert conv_net.top_names["relu"] == conv_net.bottom_names["relu"] == ["conv"]
    blob = conv_net.blobs["conv"]
    assert (blob.num, blob.channels, blob.height, blob.width, blob.count) == (2, 4, 4, 4, 128)


def test_a_write_into_a_blob_or_a_parameter_reaches_the_next_pass(conv_net: caffe.Net) -> None:
    held = conv_net.blobs["prob"].data
    conv_net.blobs["data"].data[...] = images()
    first = conv_net.forward()["prob"].copy()
    np.testing.assert_allclose(first.sum(1), 1, rtol=1e-5)
    bias = conv_net.params["ip"][1].data
    bias[2] = 100
    conv_net.forward()
    np.testing.assert_allclose(held[:, 2], 1)
    bias[2] = 0
    conv_net.blobs["data"].data[0] = conv_net.blobs["data"].data[1]
    conv_net.forward()
    np.testing.assert_allclose(held[0], first[1], rtol=1e-5)


def test_a_write_through_a_flat_view_of_a_kernel_reaches_the_next_pass(
    conv_net: caffe.Net,
) -> None:
    conv_net.params["conv"][0].data.ravel()[:] = 0
    conv_net.params["conv"][1].data.flat = np.arange(4)
    conv_net.forward(data=images())
    np.testing.assert_array_equal(conv_net.blobs["conv"].data[1, :, 2, 2], np.arange(4))


def test_forward_runs_a_range_of_layers_on_what_the_blobs_hold(conv_net: caffe.Net) -> None:
    conv_net.forward(data=images())
    want = conv_net.blobs["prob"].data.copy()
    conv_net.blobs["ip"].data[...] = 0
    out = conv_net.forward(start="prob", blobs=["ip"])
    np.testing.assert_allclose(out["prob"], 0.2)
    assert (out["ip"] == 0).all()
    assert list(conv_net.forward(end="conv")) == ["conv"]
    np.testing.assert_allclose(conv_net.forward(start="relu")["prob"], want, rtol=1e-5)


def test_backward_starts_from_diffs_and_adds_up(conv_net: caffe.Net) -> None:
    data, seed = images(), RNG.normal(size=(2, 5)).astype(np.float32)
    conv_net.forward(data=data)
    held = conv_net.params["ip"][1].diff
    grads = conv_net.backward(prob=seed, diffs=["ip"])
    prob = conv_net.blobs["prob"].data
    want = prob * (seed - (prob * seed).sum(1, keepdims=True))
    np.testing.assert_allclose(grads["ip"], want, rtol=1e-4, atol=1e-6)
    assert grads["data"].shape == data.shape and grads["data"].any()
    np.testing.assert_allclose(held, want.sum(0), rtol=1e-4, atol=1e-6)
    conv_net.backward(prob=seed)
    np.testing.assert_allclose(held, 2 * want.sum(0), rtol=1e-4, atol=1e-6)
    conv_net.clear_param_diffs()
    assert not held.any()


def test_backward_through_part_of_the_net(conv_net: caffe.Net) -> None:
    conv_net.forward(data=images(), end="conv")
    conv_net.blobs["conv"].diff[...] = 1
    grads = conv_net.backward(start="conv")
    want = conv_net.params["conv"][0].data.sum((0, 2, 3))  # the centre sees the whole kernel
    np.testing.assert_allclose(grads["data"][0, :, 3, 3], want, rtol=1e-4)
    conv_net.forward(data=images())
    assert list(conv_net.backward(end="ip", prob=np.ones((2, 5)))) == ["conv"]


def test_backward_through_one_layer_that_ran_alone(conv_net: caffe.Net) -> None:
    """A layer before it learns, so it hands a gradient on, inputs of the net or not."""
    text = Path("small.prototxt").read_text().replace("force_backward: true", "")
    Path("learning.prototxt").write_text(text)
    net = caffe.Net("learning.prototxt", caffe.TRAIN)
    net.blobs["conv"].data[...] = RNG.normal(size=net.blobs["conv"].data.shape)
    net.forward(start="ip", end="ip")
    seed = RNG.normal(size=(2, 5)).astype(np.float32)
    net.blobs["ip"].diff[...] = seed
    net.backward(start="ip", end="ip")
    want = (seed @ net.params["ip"][0].data).reshape(net.blobs["conv"].data.shape)
    np.testing.assert_allclose(net.blobs["conv"].diff, want, rtol=1e-4, atol=1e-6)
    assert not net.params["conv"][0].diff.any()


def test_another_batch_size_and_image_size(conv_net: caffe.Net) -> None:
    conv_net.blobs["data"].reshape(5, 3, 6, 6)
    conv_net.reshape()
    assert conv_net.blobs["prob"].shape == conv_net.blobs["prob"].data.shape == (5, 5)
    data = images(5)
    assert conv_net.forward(data=data)["prob"].shape == (5, 5)
    conv_net.blobs["data"].reshape(1, 3, 6, 6)  # the pass itself reshapes, as Caffe's does
    conv_net.blobs["data"].data[...] = data[3]
    got = conv_net.forward()["prob"]
    conv_net.blobs["data"].reshape(5, 3, 6, 6)
    np.testing.assert_allclose(conv_net.forward(data=data)["prob"][3], got[0], rtol=1e-5)


def test_all_samples_in_batches(conv_net: caffe.Net) -> None:
    data = images(5)
    outs, grads = conv_net.forward_backward_all(data=data, prob=np.ones((5, 5)), blobs=["ip"])
    assert outs["prob"].shape == (5, 5) and outs["ip"].shape == (5, 5)
    assert grads["data"].shape == data.shape
    np.testing.assert_allclose(conv_net.forward_all(data=data)["prob"], outs["prob"])
    np.testing.assert_allclose(conv_net.forward(data=data[3:])["prob"], outs["prob"][3:], rtol=1e-5)


@pytest.mark.parametrize("hdf5", [False, True])
def test_weights_come_back_from_files(conv_net: caffe.Net, hdf5: bool) -> None:
    want = conv_net.forward(data=np.ones((2, 3, 6, 6)))["prob"].copy()
    (conv_net.save_hdf5 if hdf5 else conv_net.save)("w")
    other = caffe.Net("small.prototxt", caffe.TEST)
    other.params["conv"][0].data[...] = 0
    (other.load_hdf5 if hdf5 else other.copy_from)("w")
    np.testing.assert_array_equal(other.forward(data=np.ones((2, 3, 6, 6)))["prob"], want)
    for again in (
        caffe.Net("small.prototxt", "w", caffe.TEST),
        caffe.Net("small.prototxt", phase=caffe.TEST, weights="w"),
    ):
        np.testing.assert_array_equal(again.params["ip"][0].data, conv_net.params["ip"][0].data)


def test_shared_weights_are_the_same_arrays(conv_net: caffe.Net) -> None:
    other = caffe.Net("small.prototxt", caffe.TEST)
    other.share_with(conv_net)
    conv_net.params["ip"][1].data[...] = 7
    assert (other.params["ip"][1].data == 7).all()


def test_surgery_from_fully_connected_to_convolutional(conv_net: caffe.Net) -> None:
    text = Path("small.prototxt").read_text()
    text = text.replace('"ip" type: "InnerProduct"', '"ip-conv" type: "Convolution"')
    text = text.replace(
        "inner_product_param { num_output: 5", "convolution_param { num_output: 5 kernel_size: 4"
    )
    Path("full.prototxt").write_text(text)
    full = caffe.Net("full.prototxt", caffe.TEST)
    for mine, theirs in (("conv", "conv"), ("ip-conv", "ip")):
        full.params[mine][0].data.flat = conv_net.params[theirs][0].data.flat
        full.params[mine][1].data[...] = conv_net.params[theirs][1].data
    data = images()
    want = conv_net.forward(data=data)["prob"]
    np.testing.assert_allclose(full.forward(data=data)["prob"][:, :, 0, 0], want, rtol=1e-4)
    full.blobs["data"].reshape(1, 3, 8, 9)
    full.reshape()
    assert full.forward()["prob"].shape == (1, 5, 3, 4)


def test_mistakes_are_sentences(conv_net: caffe.Net) -> None:
    with pytest.raises(UserError, match="no layer 'cnv'.*did you mean 'conv'"):
        conv_net.forward(end="cnv")
    with pytest.raises(UserError, match="inputs are .'data'., but got .'image'."):
        conv_net.forward(image=images())
    with pytest.raises(UserError, match="no blob 'pro'"):
        conv_net.forward(blobs=["pro"])
    with pytest.raises(UserError, match=r"blob 'data' has shape \(2, 3, 6, 6\)"):
        conv_net.forward(data=images(3))
    with pytest.raises(UserError, match="MemoryData"):
        conv_net.set_input_arrays(images(), np.zeros(2))
    with pytest.raises(UserError, match="parameter blob"):
        conv_net.params["ip"][0].reshape(1, 1)
    with pytest.raises(UserError, match="nowhere.prototxt"):
        caffe.Net("nowhere.prototxt", caffe.TEST)
    with pytest.raises(TypeError, match="phase"):
        caffe.Net("small.prototxt", caffe.TEST, "weights.caffemodel")
    with pytest.raises(UserError, match="equally many samples"):
        conv_net.forward_backward_all(data=images(4), prob=np.ones((3, 5)))
