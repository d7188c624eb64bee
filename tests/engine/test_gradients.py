"""Every layer that propagates a gradient, against finite differences in float64.

Four types are not here in general, because their gradient deliberately is not the derivative
(it is the reference's, and the golden cases hold it): Normalize with unequal scales per channel
(multiplies by the scale after the inner product), ContrastiveLoss in its default form (divides by
the distance plus 1e-4), MVN with an eps that matters (the gradient is that of eps = 0), and the
losses where they floor a probability. They are here in the form in which both agree.
MultiBoxLoss decides by its inputs what it compares; it has tests of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.engine.layers import Context, Layer, layer_class, layer_types
from scratchdet_caffe.engine.layers.data import Input, Source
from scratchdet_caffe.engine.shapes.registry import spec_of

Make = Callable[[torch.Generator, tuple[int, ...]], Tensor]


def normal(random: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    """Values away from 0, where several functions have a corner."""
    values = torch.randn(shape, generator=random, dtype=torch.float64)
    return torch.where(values.abs() < 0.1, values.sign() * 0.1 + values, values)


def positive(random: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.rand(shape, generator=random, dtype=torch.float64) + 0.2


def distinct(random: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    """Values of which no two are close, so that no step changes which is the largest."""
    count = torch.Size(shape).numel()
    order = torch.randperm(count, generator=random).double()
    return (order / count - 0.45).reshape(shape)


def below(classes: int) -> Make:
    """Indices: data, never differentiated."""

    def make(random: torch.Generator, shape: tuple[int, ...]) -> Tensor:
        return torch.randint(classes, shape, generator=random).double()

    return make


def fixed(random: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    """Numbers that are data, never differentiated."""
    return torch.rand(shape, generator=random, dtype=torch.float64)


def marks(random: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    """Continuation marks: all sequences start at the first step, some anew later."""
    values = torch.randint(2, shape, generator=random).double()
    values[0] = 0
    return values


DIFFERENTIATED = (normal, positive, distinct)
Bottoms = list[tuple[Make, tuple[int, ...]]]

# type, parameters, bottoms
TABLE: list[tuple[str, str, Bottoms]] = [
    ("AbsVal", "", [(normal, (2, 5))]),
    ("BNLL", "", [(normal, (2, 5))]),
    ("BatchNorm", "", [(normal, (3, 2, 2, 2))]),
    ("BatchNorm", "batch_norm_param { use_global_stats: true }", [(normal, (3, 2, 2))]),
    ("BatchReindex", "", [(normal, (3, 2)), (below(3), (5,))]),
    ("Bias", "bias_param { num_axes: 2 }", [(normal, (2, 3, 2))]),
    ("Bias", "", [(normal, (2, 3, 2)), (normal, (3,))]),
    ("Clip", "clip_param { min: -0.6 max: 0.85 }", [(distinct, (3, 5))]),
    ("Concat", "", [(normal, (2, 1, 2)), (normal, (2, 3, 2))]),
    (
        "ContrastiveLoss",
        "contrastive_loss_param { margin: 9 legacy_version: true }",
        [(normal, (4, 3)), (normal, (4, 3)), (below(2), (4,))],
    ),
    (
        "Convolution",
        "convolution_param { num_output: 4 kernel_size: 3 stride: 2 pad: 1 group: 2 }",
        [(normal, (2, 2, 4, 5))],
    ),
    (
        "Convolution",
        "convolution_param { num_output: 2 kernel_size: 1 stride: 2 }",
        [(normal, (1, 2, 3, 3))],
    ),
    (
        "DepthwiseConvolution",
        "convolution_param { num_output: 2 kernel_size: 2 group: 2 bias_term: false }",
        [(normal, (1, 2, 3, 3))],
    ),
    ("Crop", "crop_param { offset: 1 }", [(normal, (2, 2, 4, 4)), (fixed, (2, 2, 2, 3))]),
    (
        "Deconvolution",
        "convolution_param { num_output: 4 kernel_size: 3 stride: 2 pad: 1 group: 2 }",
        [(normal, (2, 2, 2, 3))],
    ),
    ("Dropout", "dropout_param { dropout_ratio: 0.3 }", [(normal, (3, 5))]),
    ("ELU", "elu_param { alpha: 0.7 }", [(normal, (2, 5))]),
    ("Eltwise", "eltwise_param { coeff: 2 coeff: -1 }", [(normal, (2, 3)), (normal, (2, 3))]),
    ("Eltwise", "eltwise_param { operation: PROD }", [(normal, (2, 3))] * 3),
    ("Eltwise", "eltwise_param { operation: MAX }", [(normal, (2, 3))] * 3),
    ("Embed", "embed_param { num_output: 3 input_dim: 4 }", [(below(4), (5,))]),
    ("EuclideanLoss", "", [(normal, (3, 2)), (normal, (3, 2))]),
    ("Exp", "exp_param { base: 2 scale: 0.5 shift: 1 }", [(normal, (2, 3))]),
    ("Filter", "", [(normal, (4, 2)), (below(2), (4,))]),
    ("Flatten", "", [(normal, (2, 3, 2))]),
    ("HingeLoss", "", [(normal, (3, 4)), (below(4), (3,))]),
    ("HingeLoss", "hinge_loss_param { norm: L2 }", [(normal, (3, 4)), (below(4), (3,))]),
    ("Im2col", "convolution_param { kernel_size: 2 pad: 1 stride: 2 }", [(normal, (1, 2, 4, 4))]),
    ("InfogainLoss", "", [(positive, (3, 4)), (below(4), (3,)), (fixed, (1, 1, 4, 4))]),
    ("InnerProduct", "inner_product_param { num_output: 3 }", [(normal, (2, 2, 2))]),
    ("InnerProduct", "inner_product_param { num_output: 3 transpose: true }", [(normal, (2, 4))]),
    ("LRN", "lrn_param { local_size: 3 alpha: 0.5 k: 2 }", [(normal, (1, 4, 2, 2))]),
    (
        "LRN",
        "lrn_param { local_size: 3 alpha: 0.5 norm_region: WITHIN_CHANNEL }",
        [(normal, (1, 2, 3, 3))],
    ),
    (
        "LSTM",
        "recurrent_param { num_output: 2 }",
        [(normal, (3, 2, 2)), (marks, (3, 2)), (normal, (2, 3))],
    ),
    (
        "LSTM",
        "recurrent_param { num_output: 2 expose_hidden: true }",
        [(normal, (2, 2, 3)), (fixed, (2, 2)), (normal, (1, 2, 2)), (normal, (1, 2, 2))],
    ),
    ("LSTMUnit", "", [(normal, (1, 2, 3)), (normal, (1, 2, 12)), (below(2), (1, 2))]),
    ("Log", "log_param { base: 3 scale: 2 shift: 0.1 }", [(positive, (2, 3))]),
    ("MVN", "", [(normal, (2, 2, 2, 2))]),
    ("MVN", "mvn_param { normalize_variance: false across_channels: true }", [(normal, (2, 4))]),
    ("MultinomialLogisticLoss", "", [(positive, (3, 4)), (below(4), (3,))]),
    ("Normalize", "norm_param { eps: 0.1 }", [(normal, (2, 3, 2, 2))]),
    (
        "Normalize",
        "norm_param { across_spatial: false eps: 0.1 }",
        [(normal, (2, 3, 2, 2))],
    ),
    ("PReLU", "", [(normal, (2, 3, 2))]),
    ("PReLU", "prelu_param { channel_shared: true }", [(normal, (2, 3))]),
    ("Parameter", "parameter_param { shape { dim: 2 dim: 3 } }", []),
    ("Permute", "permute_param { order: 2 order: 0 }", [(normal, (2, 3, 2))]),
    ("Pooling", "pooling_param { kernel_size: 3 stride: 2 }", [(distinct, (1, 2, 4, 4))]),
    (
        "Pooling",
        "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }",
        [(normal, (1, 2, 4, 5))],
    ),
    ("Power", "power_param { power: 2.5 scale: 2 shift: 0.3 }", [(positive, (2, 3))]),
    ("Power", "power_param { power: 2 }", [(normal, (2, 3))]),
    (
        "RNN",
        "recurrent_param { num_output: 3 }",
        [(normal, (3, 2, 2)), (marks, (3, 2)), (normal, (2, 3))],
    ),
    (
        "RNN",
        "recurrent_param { num_output: 2 expose_hidden: true }",
        [(normal, (2, 2, 2)), (fixed, (2, 2)), (normal, (1, 2, 2))],
    ),
    ("ReLU", "", [(normal, (2, 5))]),
    ("ReLU", "relu_param { negative_slope: 0.1 }", [(normal, (2, 5))]),
    ("Reduction", "reduction_param { axis: 1 coeff: 2 }", [(normal, (2, 3, 2))]),
    ("Reduction", "reduction_param { operation: ASUM }", [(normal, (2, 3))]),
    ("Reduction", "reduction_param { operation: SUMSQ axis: 1 }", [(normal, (2, 3))]),
    ("Reduction", "reduction_param { operation: MEAN axis: 1 }", [(normal, (2, 3))]),
    ("Reshape", "reshape_param { shape { dim: 0 dim: -1 } }", [(normal, (2, 3, 2))]),
    ("SPP", "spp_param { pyramid_height: 2 }", [(distinct, (1, 2, 4, 5))]),
    ("SPP", "spp_param { pyramid_height: 2 pool: AVE }", [(normal, (1, 2, 4, 5))]),
    ("Scale", "scale_param { bias_term: true }", [(normal, (2, 3, 2))]),
    ("Scale", "scale_param { axis: 0 }", [(normal, (2, 3)), (normal, (2, 3))]),
    ("Sigmoid", "", [(normal, (2, 5))]),
    ("SigmoidCrossEntropyLoss", "", [(normal, (3, 4)), (fixed, (3, 4))]),
    (
        "SigmoidCrossEntropyLoss",
        "loss_param { ignore_label: 1 normalization: VALID }",
        [(normal, (3, 4)), (below(2), (3, 4))],
    ),
    ("Slice", "slice_param { slice_point: 1 }", [(normal, (2, 3, 2))]),
    ("SmoothL1Loss", "", [(normal, (3, 4)), (normal, (3, 4))]),
    ("Softmax", "softmax_param { axis: 2 }", [(normal, (2, 2, 3))]),
    ("SoftmaxWithLoss", "", [(normal, (2, 3, 2)), (below(3), (2, 1, 2))]),
    (
        "SoftmaxWithLoss",
        "loss_param { ignore_label: 1 } softmax_param { axis: -1 }",
        [(normal, (4, 3)), (below(3), (4,))],
    ),
    ("Split", "", [(normal, (2, 3))]),
    ("Swish", "swish_param { beta: 1.5 }", [(normal, (2, 5))]),
    ("Swish", "", [(normal, (2, 5))]),
    ("TanH", "", [(normal, (2, 5))]),
    ("Tile", "tile_param { axis: 0 tiles: 3 }", [(normal, (2, 3))]),
]

#: Layers without a gradient beside the data layers: they rank, judge, or say where boxes may lie.
WITHOUT = {
    "Accuracy",
    "ArgMax",
    "DetectionEvaluate",
    "DetectionOutput",
    "HDF5Output",
    "PriorBox",
    "Silence",
    "Threshold",
}
#: MultiBoxLoss: see above. The gradient of a Python layer is its user's.
ELSEWHERE = {"MultiBoxLoss", "Python"}


def build(type_: str, parameters: str, bottoms: list[Tensor]) -> Layer:
    param = parse_text(f'name: "lut" type: "{type_}" {parameters}', pb.LayerParameter)
    param.bottom.extend(f"b{i}" for i in range(len(bottoms)))
    count = 2 if type_ in ("Slice", "Split", "LSTMUnit") else 1
    if param.recurrent_param.expose_hidden:
        count = len(bottoms) - 1
    param.top.extend(f"t{i}" for i in range(count))
    spec = spec_of(param, [tuple(bottom.shape) for bottom in bottoms])
    return layer_class(param)(param, spec, Context(pb.TRAIN)).double()


@pytest.mark.parametrize(
    ("type_", "parameters", "bottoms"), TABLE, ids=[f"{t}-{i}" for i, (t, *_) in enumerate(TABLE)]
)
def test_gradient_is_the_derivative(type_: str, parameters: str, bottoms: Bottoms) -> None:
    random = torch.Generator().manual_seed(1)
    inputs = [make(random, shape) for make, shape in bottoms]
    layer = build(type_, parameters, inputs)
    for blob in layer.blobs:
        values = normal(random, tuple(blob.shape))
        blob.data.copy_(values if layer.learnable else values.abs())
    for (make, _), values in zip(bottoms, inputs):
        values.requires_grad_(make in DIFFERENTIATED)
    variables = [*(x for x in inputs if x.requires_grad), *layer.parameters()]
    start = [buffer.clone() for buffer in layer.buffers()]

    def run(*_: Tensor) -> tuple[Tensor, ...]:
        for buffer, value in zip(layer.buffers(), start):
            buffer.copy_(value)
        layer.position = 0  # every call drops the same values
        return layer(*inputs)[: len(layer.param.top)]

    assert variables
    assert torch.autograd.gradcheck(run, variables, eps=1e-6, atol=1e-6, rtol=1e-4)


def test_every_layer_with_a_gradient_is_in_the_table() -> None:
    without = {
        type_
        for type_ in layer_types()
        if issubclass(layer_class(pb.LayerParameter(type=type_)), Input | Source)
    }
    missing = set(layer_types()) - without - WITHOUT - ELSEWHERE - {row[0] for row in TABLE}
    assert not missing
