"""Layers that compute element by element or only rearrange.

What a pass needs of the message is read beforehand: `torch.compile` cannot look into messages.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.layers.base import Context, Layer, Tops, layer, rows
from scratchdet_caffe.engine.shapes import common as shapes
from scratchdet_caffe.engine.shapes.registry import Spec

_PROD, _MAX = int(pb.EltwiseParameter.PROD), int(pb.EltwiseParameter.MAX)


@layer("ReLU")
class ReLU(Layer):
    """y = x above 0, else ``negative_slope`` * x; the gradient at 0 is the slope."""

    takes_half = True

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: Context) -> None:
        super().__init__(param, spec, context)
        self.slope = param.relu_param.negative_slope

    def forward(self, *bottoms: Tensor) -> Tops:
        x = bottoms[0]
        return (F.leaky_relu(x, self.slope) if self.slope else F.relu(x),)


@layer("Split")
class Split(Layer):
    """The bottom under several names, each with a gradient of its own."""

    takes_half = True

    def forward(self, *bottoms: Tensor) -> Tops:
        return tuple(bottoms[0].view_as(bottoms[0]) for _ in self.param.top)


@layer("Silence")
class Silence(Layer):
    """Takes blobs that nobody reads, so that they are no outputs."""

    takes_half = True

    def forward(self, *bottoms: Tensor) -> Tops:
        return ()


@layer("Softmax")
class Softmax(Layer):
    """Softmax along ``axis``."""

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: Context) -> None:
        super().__init__(param, spec, context)
        self.axis = param.softmax_param.axis

    def forward(self, *bottoms: Tensor) -> Tops:
        return (F.softmax(bottoms[0], self.axis),)


@layer("Eltwise")
class Eltwise(Layer):
    """Element-wise sum (with coefficients), product or maximum."""

    takes_half = True

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: Context) -> None:
        super().__init__(param, spec, context)
        self.operation = int(param.eltwise_param.operation)
        self.coeff = list(param.eltwise_param.coeff)

    def forward(self, *bottoms: Tensor) -> Tops:
        if self.operation == _PROD:
            return (functools.reduce(torch.mul, bottoms),)
        if self.operation == _MAX:
            # On a tie of the first two the second wins; later ones must be larger.
            top = torch.where(bottoms[0] > bottoms[1], bottoms[0], bottoms[1])
            for other in bottoms[2:]:
                top = torch.where(other > top, other, top)
            return (top,)
        if self.coeff:
            bottoms = tuple(b if c == 1 else b * c for b, c in zip(bottoms, self.coeff))
        return (functools.reduce(torch.add, bottoms),)


@layer("Concat")
class Concat(Layer):
    """Bottoms one after the other along an axis."""

    takes_half = True

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: Context) -> None:
        super().__init__(param, spec, context)
        self.axis = shapes.concat_axis(param, spec.tops[0])

    def forward(self, *bottoms: Tensor) -> Tops:
        return (torch.cat(bottoms, self.axis),)


@layer("Permute")
class Permute(Layer):
    """Axes in a new order (a view: whoever needs it contiguous makes the copy)."""

    takes_half = True

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: Context) -> None:
        super().__init__(param, spec, context)
        self.order = shapes.permute_order(param, len(spec.tops[0]))

    def forward(self, *bottoms: Tensor) -> Tops:
        return (bottoms[0].permute(self.order),)


@layer("Flatten")
class Flatten(Layer):
    """Several axes folded into one."""

    takes_half = True

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: Context) -> None:
        super().__init__(param, spec, context)
        self.start, self.end = param.flatten_param.axis, param.flatten_param.end_axis

    def forward(self, *bottoms: Tensor) -> Tops:
        return (bottoms[0].flatten(self.start, self.end),)


@layer("Reshape")
class Reshape(Layer):
    """The same values under another shape."""

    takes_half = True

    def forward(self, *bottoms: Tensor) -> Tops:
        return (bottoms[0].reshape(shapes.reshaped(self.param, tuple(bottoms[0].shape))),)


@layer("Reduction")
class Reduction(Layer):
    """Sum, sum of magnitudes, of squares, or mean of all axes from ``axis`` on."""

    def forward(self, *bottoms: Tensor) -> Tops:
        p = self.param.reduction_param
        x = bottoms[0]
        axis = p.axis % x.dim() if x.dim() else 0
        values = rows(x, axis)
        if p.operation == pb.ReductionParameter.ASUM:
            values = values.abs()
        elif p.operation == pb.ReductionParameter.SUMSQ:
            values = values.square()
        mean = p.operation == pb.ReductionParameter.MEAN
        top = (values.mean(1) if mean else values.sum(1)) * p.coeff
        return (top.reshape(x.shape[:axis]),)
