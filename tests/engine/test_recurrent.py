"""RNN and LSTM against PyTorch's own, and what is Caffe's about them: marks and carried states."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.engine.layers import Context, Layer, layer_class
from scratchdet_caffe.engine.shapes import LayerError
from scratchdet_caffe.engine.shapes.registry import spec_of

STEPS, STREAMS, INPUTS, OUTPUTS = 6, 2, 3, 4


def build(type_: str, shapes: list[tuple[int, ...]], extra: str = "") -> Layer:
    param = parse_text(
        f'name: "lut" type: "{type_}" top: "y" recurrent_param {{ num_output: {OUTPUTS} {extra} }}',
        pb.LayerParameter,
    )
    param.bottom.extend(f"b{i}" for i in range(len(shapes)))
    if "expose_hidden" in extra:
        param.top.extend(["h", "c"][: 2 if type_ == "LSTM" else 1])
    layer = layer_class(param)(param, spec_of(param, shapes), Context(pb.TRAIN))
    random = torch.Generator().manual_seed(3)
    for blob in layer.blobs:
        blob.data.normal_(generator=random)
    return layer


def sequence() -> tuple[Tensor, Tensor]:
    """Inputs (T, N, I) and the marks of one unbroken sequence (T, N)."""
    x = torch.randn(STEPS, STREAMS, INPUTS, generator=torch.Generator().manual_seed(4))
    marks = torch.ones(STEPS, STREAMS)
    marks[0] = 0
    return x, marks


def torch_lstm(layer: Layer) -> torch.nn.LSTM:
    """The same LSTM in PyTorch, which orders its gates input, forget, candidate, output."""
    twin = torch.nn.LSTM(INPUTS, OUTPUTS)
    weight, bias, hidden = (blob.detach().chunk(4) for blob in layer.blobs)
    order = (0, 1, 3, 2)
    with torch.no_grad():
        twin.weight_ih_l0.copy_(torch.cat([weight[i] for i in order]))
        twin.bias_ih_l0.copy_(torch.cat([bias[i] for i in order]))
        twin.weight_hh_l0.copy_(torch.cat([hidden[i] for i in order]))
        twin.bias_hh_l0.zero_()
    return twin


def test_lstm_equals_pytorchs() -> None:
    x, marks = sequence()
    layer = build("LSTM", [tuple(x.shape), tuple(marks.shape)])
    want, _ = torch_lstm(layer)(x)
    torch.testing.assert_close(layer(x, marks)[0], want)


def test_lstm_starts_from_and_returns_its_exposed_states() -> None:
    x, marks = sequence()
    state = torch.randn(2, 1, STREAMS, OUTPUTS, generator=torch.Generator().manual_seed(5))
    shapes = [tuple(x.shape), tuple(marks.shape), *[tuple(state[0].shape)] * 2]
    layer = build("LSTM", shapes, "expose_hidden: true")
    want, (hidden, cell) = torch_lstm(layer)(x, (state[0], state[1]))
    got = layer(x, torch.ones_like(marks), state[0], state[1])
    for mine, theirs in zip(got, (want, hidden, cell)):
        torch.testing.assert_close(mine, theirs)


def test_rnn_equals_pytorchs() -> None:
    x, marks = sequence()
    layer = build("RNN", [tuple(x.shape), tuple(marks.shape)])
    weight, bias, hidden, out_weight, out_bias = (blob.detach() for blob in layer.blobs)
    twin = torch.nn.RNN(INPUTS, OUTPUTS)
    with torch.no_grad():
        twin.weight_ih_l0.copy_(weight)
        twin.bias_ih_l0.copy_(bias)
        twin.weight_hh_l0.copy_(hidden)
        twin.bias_hh_l0.zero_()
    want = torch.tanh(twin(x)[0] @ out_weight.t() + out_bias)
    torch.testing.assert_close(layer(x, marks)[0], want)


@pytest.mark.parametrize("type_", ["RNN", "LSTM"])
def test_a_mark_of_0_forgets_what_came_before(type_: str) -> None:
    x, marks = sequence()
    marks[3, 1] = 0
    shapes = [tuple(x.shape), tuple(marks.shape)]
    (whole,) = build(type_, shapes)(x, marks)[:1]
    _, alone_marks = sequence()
    (alone,) = build(type_, shapes)(x.roll(-3, 0), alone_marks)[:1]
    torch.testing.assert_close(whole[3:, 1], alone[:3, 1])
    assert not torch.allclose(whole[3:, 0], alone[:3, 0])


@pytest.mark.parametrize("type_", ["RNN", "LSTM"])
def test_two_passes_in_a_row_are_one_long_sequence(type_: str) -> None:
    x, marks = sequence()
    long = build(type_, [tuple(x.shape), tuple(marks.shape)])
    half = build(type_, [(3, STREAMS, INPUTS), (3, STREAMS)])
    (want,) = long(x, marks)[:1]
    got = torch.cat([half(x[:3], marks[:3])[0], half(x[3:], marks[3:])[0]])
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("type_", ["RNN", "LSTM"])
def test_static_input_is_input_that_every_step_sees(type_: str) -> None:
    x, marks = sequence()
    static = x[0, :, :2]
    with_static = build(type_, [tuple(x.shape), tuple(marks.shape), (STREAMS, 2)])
    joined = torch.cat([x, static.expand(STEPS, -1, -1)], 2)
    plain = build(type_, [tuple(joined.shape), tuple(marks.shape)])
    weight, bias, static_weight, *rest = (blob.detach() for blob in with_static.blobs)
    blobs = [torch.cat([weight, static_weight], 1), bias, *rest]
    for mine, theirs in zip(plain.blobs, blobs):
        mine.data.copy_(theirs)
    torch.testing.assert_close(with_static(x, marks, static)[0], plain(joined, marks)[0])


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(STEPS, STREAMS), (STEPS, STREAMS)], "takes steps of streams"),
        ([(STEPS, STREAMS, 3), (STREAMS, STEPS)], "continuation marks must be"),
        ([(STEPS, STREAMS, 3)], "takes 2 to 3 bottom blobs"),
        ([(STEPS, STREAMS, 3), (STEPS, STREAMS), (5, 3)], "items of static input"),
    ],
)
def test_bottoms_that_do_not_fit_are_named(shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(LayerError, match=f"layer 'lut' \\(LSTM\\): .*{message}"):
        build("LSTM", shapes)
