"""Layers with sliding windows beside convolution and pooling."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from scratchdet_caffe.engine.layers.base import Layer, Tops, layer
from scratchdet_caffe.engine.layers.vision import Convolution, Pool
from scratchdet_caffe.engine.shapes.vision import conv_window
from scratchdet_caffe.engine.shapes.window import pyramid

_DECONVOLVE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@layer("Deconvolution")
class Deconvolution(Convolution):
    """The transpose of a convolution, plus bias; weights are (in, out / group, ...)."""

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        w = self.window
        lead = x.shape[: -self.axes - 1]
        images = x.reshape(lead.numel(), *x.shape[-self.axes - 1 :])
        y = _DECONVOLVE[self.axes](images, weight, bias, w.stride, w.pad, 0, self.group, w.dilation)
        return y.reshape(*lead, *y.shape[1:])


@layer("Im2col")
class Im2col(Layer):
    """The values under each window as channels: one row per channel and place in the kernel."""

    def forward(self, *bottoms: Tensor) -> Tops:
        x = bottoms[0]
        axis = self.param.convolution_param.axis % x.dim() + 1
        window = conv_window(self.param, x.dim() - axis)
        x = F.pad(x, [pad for side in reversed(window.pad) for pad in (side, side)])
        for i, (k, s, d) in enumerate(zip(window.kernel, window.stride, window.dilation)):
            x = x.unfold(axis + i, d * (k - 1) + 1, s)[..., ::d]
        spatial = range(axis, axis + len(window.kernel))
        kernel = range(axis + len(window.kernel), x.dim())
        columns = x.permute(*range(axis), *kernel, *spatial)
        return (columns.flatten(axis - 1, axis - 1 + len(kernel)),)


@layer("SPP")
class SPP(Layer):
    """Spatial pyramid: the map pooled into 1, 4, 16, ... bins, all in one row."""

    def forward(self, *bottoms: Tensor) -> Tops:
        x = bottoms[0]
        pooled = [Pool(level)(x)[0] for level in pyramid(self.param, x.shape[2], x.shape[3])]
        if len(pooled) == 1:
            return (pooled[0],)
        return (torch.cat([bins.flatten(1) for bins in pooled], 1),)
