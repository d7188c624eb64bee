"""InnerProduct, Embed, Bias and Parameter."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from scratchdet_caffe.engine.layers.base import Layer, Tops, layer, rows
from scratchdet_caffe.engine.layers.gradients import refuse_gradient


@layer("InnerProduct")
class InnerProduct(Layer):
    """y = W x + b over the axes from ``axis`` on; W is (N, K), or (K, N) with ``transpose``."""

    takes_half = True

    def forward(self, *bottoms: Tensor) -> Tops:
        p, x = self.param.inner_product_param, bottoms[0]
        weight, *bias = self.blobs
        axis = p.axis % x.dim()
        top = F.linear(rows(x, axis), weight.t() if p.transpose else weight, *bias)
        return (top.reshape(*x.shape[:axis], p.num_output),)


@layer("Embed")
class Embed(Layer):
    """The row of W (input_dim, N) that each index names, plus b."""

    def forward(self, *bottoms: Tensor) -> Tops:
        weight, *bias = self.blobs
        index = bottoms[0].detach().long()
        if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < len(weight):
            raise self.error(
                f"indices must lie between 0 and {len(weight) - 1}, but reach from "
                f"{int(index.min())} to {int(index.max())}"
            )
        top = F.embedding(index, weight)
        top = top + bias[0] if bias else top
        return (refuse_gradient(self, top, bottoms[0], "cannot send gradients to its indices"),)


@layer("Bias")
class Bias(Layer):
    """y = x + term, the term being a parameter or the second bottom."""

    def forward(self, *bottoms: Tensor) -> Tops:
        x = bottoms[0]
        term = bottoms[1] if len(bottoms) == 2 else self.blobs[0]
        axis = self.param.bias_param.axis % x.dim() if term.dim() else 0
        return (x + term.reshape((*term.shape, *[1] * (x.dim() - axis - term.dim()))),)


@layer("Parameter")
class Parameter(Layer):
    """A learned blob as a top."""

    def forward(self, *bottoms: Tensor) -> Tops:
        return (self.blobs[0].view_as(self.blobs[0]),)
