"""Activations: functions of one value at a time, and Dropout."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.layers.base import Context, Drawing, Layer, Tops, layer
from scratchdet_caffe.engine.layers.gradients import refuse_gradient
from scratchdet_caffe.engine.shapes.activation import NATURAL
from scratchdet_caffe.engine.shapes.registry import Spec


@layer("AbsVal")
class AbsVal(Layer):
    """y = |x|; the gradient at 0 is 0."""

    def forward(self, *bottoms: Tensor) -> Tops:
        return (bottoms[0].abs(),)


@layer("BNLL")
class BNLL(Layer):
    """y = log(1 + exp(x))."""

    def forward(self, *bottoms: Tensor) -> Tops:
        # Beyond 50 the gradient is exactly 1 in Caffe, too.
        return (F.softplus(bottoms[0], threshold=50),)


@layer("Clip")
class Clip(Layer):
    """y = x, kept between ``min`` and ``max``; outside them the gradient is 0."""

    def forward(self, *bottoms: Tensor) -> Tops:
        p = self.param.clip_param
        return (bottoms[0].clamp(p.min, p.max),)


@layer("ELU")
class ELU(Layer):
    """y = x above 0, else ``alpha`` * (exp(x) - 1)."""

    def forward(self, *bottoms: Tensor) -> Tops:
        return (F.elu(bottoms[0], self.param.elu_param.alpha),)


@layer("Exp")
class Exp(Layer):
    """y = base ** (scale * x + shift); base -1 is e."""

    def forward(self, *bottoms: Tensor) -> Tops:
        p = self.param.exp_param
        rate = 1.0 if p.base == NATURAL else math.log(p.base)
        return (torch.exp((bottoms[0] * p.scale + p.shift) * rate),)


@layer("Log")
class Log(Layer):
    """y = log(scale * x + shift) to ``base``; base -1 is e."""

    def forward(self, *bottoms: Tensor) -> Tops:
        p = self.param.log_param
        top = torch.log(bottoms[0] * p.scale + p.shift)
        return (top if p.base == NATURAL else top / math.log(p.base),)


@layer("Power")
class Power(Layer):
    """y = (shift + scale * x) ** power."""

    def forward(self, *bottoms: Tensor) -> Tops:
        p = self.param.power_param
        x = bottoms[0]
        if p.power * p.scale == 0:
            # A constant with gradient 0, also where x is not finite.
            base = x.new_tensor(p.shift) if p.power else x.new_tensor(1)
            return (base.pow(p.power).expand_as(x).clone(),)
        line = x * p.scale + p.shift
        return (line if p.power == 1 else line.pow(p.power),)


@layer("PReLU")
class PReLU(Layer):
    """y = x above 0, else a learned slope times x; at exactly 0 the slope is the gradient."""

    def forward(self, *bottoms: Tensor) -> Tops:
        return (F.prelu(bottoms[0], self.blobs[0].reshape(-1)),)


@layer("Sigmoid")
class Sigmoid(Layer):
    """y = 1 / (1 + exp(-x))."""

    def forward(self, *bottoms: Tensor) -> Tops:
        return (bottoms[0].sigmoid(),)


@layer("Swish")
class Swish(Layer):
    """y = x * sigmoid(beta * x)."""

    def forward(self, *bottoms: Tensor) -> Tops:
        beta, x = self.param.swish_param.beta, bottoms[0]
        return (F.silu(x) if beta == 1 else x * torch.sigmoid(x * beta),)


@layer("TanH")
class TanH(Layer):
    """y = tanh(x)."""

    def forward(self, *bottoms: Tensor) -> Tops:
        return (bottoms[0].tanh(),)


@layer("Threshold")
class Threshold(Layer):
    """y = 1 where x is above ``threshold``, else 0; it has no backward pass."""

    def forward(self, *bottoms: Tensor) -> Tops:
        x = bottoms[0]
        top = (x > self.param.threshold_param.threshold).to(x.dtype)
        return (refuse_gradient(self, top, x, "a threshold has no gradient to pass on"),)


@layer("Dropout")
class Dropout(Drawing):
    """In TRAIN, set a share of the values to 0 and scale the others up; in TEST a copy.

    Which values are dropped depends on the seed, the layer's name and the number of the pass
    (`position`) alone.
    """

    takes_half = True

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: Context) -> None:
        super().__init__(param, spec, context)
        self.position = 0

    def forward(self, *bottoms: Tensor) -> Tops:
        ratio = self.param.dropout_param.dropout_ratio
        if not self.training:
            return (bottoms[0].view_as(bottoms[0]),)
        random = self.context.generator("dropout", self.param.name, self.position)
        self.position += 1
        kept = torch.empty(bottoms[0].shape).bernoulli_(1 - ratio, generator=random)
        return (bottoms[0] * (kept / (1 - ratio)).to(bottoms[0]),)
