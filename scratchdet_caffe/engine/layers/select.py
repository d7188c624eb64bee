"""Layers that cut a blob apart, repeat it, or pick items from it."""

from __future__ import annotations

import torch
from torch import Tensor

from scratchdet_caffe.engine.layers.base import Layer, Tops, layer
from scratchdet_caffe.engine.layers.gradients import refuse_gradient
from scratchdet_caffe.engine.shapes import select as shapes


@layer("Slice")
class Slice(Layer):
    """One blob cut along an axis."""

    takes_half = True

    def forward(self, *bottoms: Tensor) -> Tops:
        axis, sizes = shapes.slice_sizes(self.param, tuple(bottoms[0].shape))
        return torch.split(bottoms[0], sizes, axis)


@layer("Tile")
class Tile(Layer):
    """The blob several times along an axis, one whole copy after the other."""

    takes_half = True

    def forward(self, *bottoms: Tensor) -> Tops:
        p, x = self.param.tile_param, bottoms[0]
        times = [1] * x.dim()
        times[p.axis] = p.tiles
        return (x.repeat(times),)


@layer("Crop")
class Crop(Layer):
    """A window as large as the second bottom, which gets no gradient."""

    takes_half = True

    def forward(self, *bottoms: Tensor) -> Tops:
        x, like = bottoms
        for axis, offset, size in shapes.crop_starts(self.param, tuple(x.shape), tuple(like.shape)):
            x = x.narrow(axis, offset, size)
        return (x,)


@layer("BatchReindex")
class BatchReindex(Layer):
    """The items that the second bottom names, in that order."""

    def forward(self, *bottoms: Tensor) -> Tops:
        x, index = bottoms[0], bottoms[1].detach().long()
        if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < len(x):
            raise self.error(
                f"indices must lie between 0 and {len(x) - 1}, but reach from "
                f"{int(index.min())} to {int(index.max())}"
            )
        top = x.index_select(0, index)
        return (refuse_gradient(self, top, bottoms[1], "cannot send gradients to its indices"),)


@layer("Filter")
class Filter(Layer):
    """Of each blob the items for which the last bottom is not 0 (none is fine)."""

    def forward(self, *bottoms: Tensor) -> Tops:
        *blobs, selector = bottoms
        chosen = selector.detach().flatten() != 0
        return tuple(
            refuse_gradient(self, blob[chosen], selector, "cannot send gradients to its selector")
            for blob in blobs
        )
