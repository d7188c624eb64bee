"""Layers that normalise each item of a batch by itself: LRN, MVN, Normalize."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.layers.base import Context, Layer, Tops, layer, rows
from scratchdet_caffe.engine.shapes.registry import Spec


@layer("LRN")
class LRN(Layer):
    """y = x / (k + alpha * mean of squares) ** beta, the mean over nearby channels or pixels.

    Beyond the border squares are 0 but count in the mean.
    """

    def forward(self, *bottoms: Tensor) -> Tops:
        p, x = self.param.lrn_param, bottoms[0]
        if p.norm_region == pb.LRNParameter.ACROSS_CHANNELS:
            return (F.local_response_norm(x, p.local_size, p.alpha, p.beta, p.k),)
        squares = F.avg_pool2d(x.square(), p.local_size, 1, p.local_size // 2)
        # WITHIN_CHANNEL takes no notice of k: it is always 1.
        return (x * (1 + p.alpha * squares).pow(-p.beta),)


class _Standardise(torch.autograd.Function):
    """(x - mean) / (std + eps) of each row; the gradient is that of eps = 0 (Caffe)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, eps: float) -> Tensor:
        centred = values - values.mean(1, keepdim=True)
        divisor = centred.square().mean(1, keepdim=True).sqrt() + eps
        top = centred / divisor
        ctx.save_for_backward(top, divisor)
        return top

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        top, divisor = ctx.saved_tensors
        grad = grads[0]
        along = (grad * top).mean(1, keepdim=True)
        return (grad - grad.mean(1, keepdim=True) - top * along) / divisor, None


@layer("MVN")
class MVN(Layer):
    """Zero mean and (if asked for) unit variance over each channel, or over each item."""

    def forward(self, *bottoms: Tensor) -> Tops:
        p, x = self.param.mvn_param, bottoms[0]
        values = rows(x, 1 if p.across_channels else 2)
        if not p.normalize_variance:
            return ((values - values.mean(1, keepdim=True)).reshape(x.shape),)
        top: Tensor = _Standardise.apply(values, p.eps)  # type: ignore[no-untyped-call]
        return (top.reshape(x.shape),)


class _Normalise(torch.autograd.Function):
    """x / sqrt(sum of squares + eps) * scale, summed over ``axes``.

    The gradient to x multiplies by the scale only after the inner product (Caffe): that is the
    derivative only where all scales are equal.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
        length = (x.square().sum(axes, keepdim=True) + eps).sqrt()
        unit = x / length
        ctx.save_for_backward(unit, length, scale)
        ctx.axes = axes
        return unit * scale

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        unit, length, scale = ctx.saved_tensors
        along = grads[0] * unit
        inner = along.sum(ctx.axes, keepdim=True)
        to_x = (grads[0] - unit * inner) * scale / length if ctx.needs_input_grad[0] else None
        return to_x, along.sum_to_size(scale.shape), None, None


@layer("Normalize")
class Normalize(Layer):
    """Unit length of the channels of each pixel (or of all values of an item), then scaled."""

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: Context) -> None:
        super().__init__(param, spec, context)
        self.eps = param.norm_param.eps
        self.across_spatial = param.norm_param.across_spatial

    def forward(self, *bottoms: Tensor) -> Tops:
        x = bottoms[0]
        axes = tuple(range(1, x.dim())) if self.across_spatial else (1,)
        scale = self.blobs[0].reshape(1, -1, *[1] * (x.dim() - 2))
        # Sums of squares need more digits than the half floats of mixed precision have.
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        top: Tensor = _Normalise.apply(x, scale, axes, self.eps)  # type: ignore[no-untyped-call]
        return (top,)
