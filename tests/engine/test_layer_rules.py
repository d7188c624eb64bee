"""What users rely on in single layers and the reference's recorded cases do not cover."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.engine.net import Net
from scratchdet_caffe.engine.shapes import LayerError
from scratchdet_caffe.errors import UserError


def net(text: str, inputs: dict[str, Sequence[int]], phase: int = pb.TRAIN) -> Net:
    """A net of Input layers of these shapes and then ``text``."""
    front = "".join(
        f'layer {{ name: "in_{blob}" type: "Input" top: "{blob}" input_param {{ shape {{ '
        + " ".join(f"dim: {dim}" for dim in shape)
        + " } } }\n"
        for blob, shape in inputs.items()
    )
    return Net(parse_text(front + text, pb.NetParameter), phase)


def run(type_: str, parameters: str, *bottoms: Tensor, tops: int = 1) -> list[Tensor]:
    """Run one layer on ``bottoms``."""
    wires = "".join(f'bottom: "b{i}" ' for i in range(len(bottoms)))
    wires += "".join(f'top: "t{i}" ' for i in range(tops))
    shapes = {f"b{i}": bottom.shape for i, bottom in enumerate(bottoms)}
    built = net(f'layer {{ name: "lut" type: "{type_}" {wires} {parameters} }}', shapes)
    blobs = built({f"b{i}": bottom for i, bottom in enumerate(bottoms)})
    return [blobs[f"t{i}"] for i in range(tops)]


def test_clip_keeps_values_between_its_ends() -> None:
    (top,) = run("Clip", "clip_param { min: -1 max: 2 }", torch.tensor([-3.0, -1, 0.5, 2, 9]))
    assert top.tolist() == [-1, -1, 0.5, 2, 2]


@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_swish_is_x_times_a_sigmoid(beta: float) -> None:
    x = torch.linspace(-4, 4, 9)
    (top,) = run("Swish", f"swish_param {{ beta: {beta} }}", x)
    torch.testing.assert_close(top, x / (1 + torch.exp(-beta * x)))


@settings(deadline=None, max_examples=30)
@given(
    points=st.lists(st.integers(1, 9), unique=True, min_size=1, max_size=4).map(sorted),
    axis=st.integers(-3, 2),
)
def test_concat_undoes_slice(points: list[int], axis: int) -> None:
    x = torch.arange(1000.0).reshape(10, 10, 10)
    cuts = " ".join(f"slice_point: {point}" for point in points)
    parts = run("Slice", f"slice_param {{ axis: {axis} {cuts} }}", x, tops=len(points) + 1)
    (whole,) = run("Concat", f"concat_param {{ axis: {axis} }}", *parts)
    assert torch.equal(whole, x)


@settings(deadline=None, max_examples=30)
@given(
    size=st.tuples(st.integers(3, 7), st.integers(3, 7)),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    pad=st.integers(0, 2),
    dilation=st.integers(1, 2),
)
def test_convolution_is_a_product_with_im2col_and_deconvolution_its_transpose(
    size: tuple[int, int], kernel: int, stride: int, pad: int, dilation: int
) -> None:
    if min(size) + 2 * pad < dilation * (kernel - 1) + 1:
        return
    x = torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(0))
    window = f"kernel_size: {kernel} stride: {stride} pad: {pad} dilation: {dilation}"
    parameters = f"convolution_param {{ num_output: 3 bias_term: false {window} }}"
    layer = f'layer {{ name: "lut" type: "%s" bottom: "x" top: "y" {parameters} }}'
    convolve = net(layer % "Convolution", {"x": x.shape})
    weight = convolve.params[0].tensor.data.normal_()
    y = convolve({"x": x})["y"]
    (columns,) = run("Im2col", f"convolution_param {{ {window} }}", x)
    product = weight.reshape(3, -1) @ columns.flatten(2)
    torch.testing.assert_close(product.reshape(y.shape), y, rtol=1e-4, atol=1e-5)
    # <conv(x), z> = <x, deconv(z)>, where the deconvolution gives back the size of x.
    back = net((layer % "Deconvolution").replace("num_output: 3", "num_output: 2"), {"x": y.shape})
    if back.shapes[-1] == tuple(x.shape):
        back.params[0].tensor.data.copy_(weight)
        z = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(
            (y * z).sum(), (x * back({"x": z})["y"]).sum(), rtol=1e-3, atol=1e-3
        )


def test_argmax_of_maps_has_as_many_axes_as_they() -> None:
    x = torch.randn(2, 3, 4, 5)
    (top,) = run("ArgMax", "argmax_param { top_k: 2 out_max_val: true }", x)
    assert top.shape == (2, 2, 2, 1)
    assert torch.equal(top[:, 1, :, 0], x.flatten(1).topk(2).values)


def test_dummy_data_is_new_in_every_pass_and_the_same_in_every_run() -> None:
    text = (
        'layer { name: "d" type: "DummyData" top: "a" top: "b" dummy_data_param { '
        "shape { dim: 2 dim: 3 } "
        'data_filler { type: "gaussian" } data_filler { type: "constant" value: 7 } } }'
    )
    one, other = net(text, {}), net(text, {})
    first, second = one(), one()
    assert not torch.equal(first["a"], second["a"])
    assert torch.equal(first["b"], torch.full((2, 3), 7.0))
    assert torch.equal(other()["a"], first["a"])


def test_equal_vectors_that_should_differ_have_a_finite_gradient() -> None:
    text = """
    force_backward: true
    layer { name: "lut" type: "ContrastiveLoss" bottom: "a" bottom: "b" bottom: "s" top: "loss" }
    """
    a = torch.ones(2, 3, requires_grad=True)
    built = net(text, {"a": (2, 3), "b": (2, 3), "s": (2,)})
    loss = built({"a": a, "b": torch.ones(2, 3), "s": torch.zeros(2)})["loss"]
    loss.backward()
    assert loss.item() == pytest.approx(0.5)
    assert a.grad is not None
    assert bool(a.grad.isfinite().all())


@pytest.mark.parametrize(
    ("type_", "bottoms", "message"),
    [
        ("Embed", [torch.tensor([5.0])], "indices must lie between 0 and 2"),
        ("SoftmaxWithLoss", [torch.zeros(1, 3), torch.tensor([3.0])], "labels must lie between"),
        ("HingeLoss", [torch.zeros(1, 3), torch.tensor([-1.0])], "labels must lie between"),
        ("Accuracy", [torch.zeros(1, 3), torch.tensor([7.0])], "labels must lie between"),
        ("BatchReindex", [torch.zeros(2, 3), torch.tensor([2.0])], "indices must lie between"),
    ],
)
def test_numbers_that_name_nothing_are_refused(
    type_: str, bottoms: list[Tensor], message: str
) -> None:
    parameters = "embed_param { num_output: 1 input_dim: 3 }" if type_ == "Embed" else ""
    with pytest.raises(LayerError, match=f"layer 'lut' \\({type_}\\): {message}"):
        run(type_, parameters, *bottoms)


CLASSIFIER = """
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param {
  num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "y" bottom: "label" top: "accuracy" }
layer { name: "best" type: "ArgMax" bottom: "y" top: "best" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "label" top: "loss" }
"""


def test_a_train_net_may_have_layers_without_gradient_beside_its_loss() -> None:
    trained = caffe.Net.over(net(CLASSIFIER, {"x": (4, 5), "label": (4,)}))
    trained.blobs["x"].data[...] = np.arange(20).reshape(4, 5) / 20
    trained.forward()
    trained.backward()
    assert np.abs(trained.params["ip"][0].diff).sum() > 0


def test_labels_that_learn_are_refused_when_the_gradient_comes() -> None:
    text = """
    layer { name: "a" type: "InnerProduct" bottom: "x" top: "y"
            inner_product_param { num_output: 3 } }
    layer { name: "b" type: "InnerProduct" bottom: "x" top: "label"
            inner_product_param { num_output: 1 } }
    layer { name: "lut" type: "SoftmaxWithLoss" bottom: "y" bottom: "label" top: "loss" }
    """
    built = net(text, {"x": (2, 4)})
    blobs = built({"x": torch.zeros(2, 4)})
    with pytest.raises(LayerError, match="layer 'lut' .*cannot send gradients to its labels"):
        built.loss(blobs).backward()


def test_a_loss_without_a_top_counts_as_one() -> None:
    text = """
    force_backward: true
    layer { name: "lut" type: "EuclideanLoss" bottom: "a" bottom: "b" %s }
    """
    a = torch.tensor([[3.0]], requires_grad=True)
    losses = []
    for top in ("", 'top: "loss"'):
        built = net(text % top, {"a": (1, 1), "b": (1, 1)})
        losses.append(built.loss(built({"a": a, "b": torch.ones(1, 1)})))
    assert torch.equal(losses[0], losses[1])
    assert losses[0].item() == 2
    assert losses[0].requires_grad


def test_infogain_needs_its_matrix() -> None:
    with pytest.raises(LayerError, match="needs its matrix as a third bottom or as"):
        run("InfogainLoss", "", torch.ones(2, 3), torch.zeros(2))
    with pytest.raises(LayerError, match=r"layer 'lut' \(InfogainLoss\): .*nowhere"):
        source = 'infogain_loss_param { source: "nowhere.binaryproto" }'
        run("InfogainLoss", source, torch.ones(2, 3), torch.zeros(2))


TYPES = sorted(set(caffe.layer_type_list()) - {"AnnotatedData", "Python"})
PARAMETERS = """
    convolution_param { num_output: 2 kernel_size: 2 pad: 1 weight_filler { type: "xavier" } }
    inner_product_param { num_output: 2 weight_filler { type: "msra" } }
    pooling_param { kernel_size: 2 stride: 2 pad: 1 } clip_param { min: 0 max: 1 }
    embed_param { num_output: 2 input_dim: 2 } recurrent_param { num_output: 2 }
    spp_param { pyramid_height: 2 } tile_param { tiles: 2 } slice_param { axis: 0 }
    reshape_param { shape { dim: 0 dim: -1 } } permute_param { order: 1 order: 0 }
"""


@settings(deadline=None, max_examples=300, derandomize=True)
@given(
    type_=st.sampled_from(TYPES),
    shape=st.lists(st.sampled_from([0, 1, 2, 3, 4]), max_size=5),
    others=st.lists(st.lists(st.sampled_from([0, 1, 2, 3]), max_size=4) | st.none(), max_size=3),
    tops=st.integers(0, 3),
    value=st.sampled_from([0.0, 1.0, -1.0, 0.5, 1e30, float("nan")]),
)
def test_any_shapes_and_values_end_in_a_result_or_a_sentence(
    type_: str, shape: list[int], others: list[list[int] | None], tops: int, value: float
) -> None:
    shapes = [shape, *(shape if other is None else other for other in others)]
    bottoms = [torch.full(shape, value) for shape in shapes]
    try:
        made = run(type_, PARAMETERS, *bottoms, tops=tops)
    except UserError as error:
        assert "layer 'lut'" in str(error)
    else:
        assert all(isinstance(top, Tensor) for top in made)
