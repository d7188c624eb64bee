"""Convolution and pooling."""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.layers.base import Context, Layer, Tops, layer
from scratchdet_caffe.engine.shapes.registry import Spec
from scratchdet_caffe.engine.shapes.vision import Window, conv_window, pool_window, pooled_size

_CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_AVERAGE: dict[int, Any] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@layer("Convolution", "DepthwiseConvolution")
class Convolution(Layer):
    """Convolution over 1 to 3 spatial axes; several bottoms share the weights."""

    takes_half = True

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: Context) -> None:
        super().__init__(param, spec, context)
        self.axes = len(spec.params[0]) - 2
        if self.axes not in _CONVOLVE:
            raise self.error(f"can convolve over 1 to 3 spatial axes, not {self.axes}")
        self.window = conv_window(param, self.axes)
        self.group = param.convolution_param.group
        plain = set(self.window.kernel) == {1} and set(self.window.pad) == {0}
        self.takes_every_nth = plain and max(self.window.stride) > 1

    def forward(self, *bottoms: Tensor) -> Tops:
        weight, *bias = self.blobs
        return tuple(self._convolve(x, weight, bias[0] if bias else None) for x in bottoms)

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        lead = x.shape[: -self.axes - 1]
        w = self.window
        if len(lead) != 1:
            x = x.flatten(0, len(lead) - 1) if lead else x[None]
        stride = w.stride
        if self.takes_every_nth:
            # The same numbers: means of one value each (quicker than a slice and its gradient).
            # Given the stride, oneDNN 3.12 crashes in backward where channels are fewer than 16,
            # channels-last, the batch odd and the threads several.
            x = _AVERAGE[self.axes](x, 1, stride)
            stride = (1,) * self.axes
        y = _CONVOLVE[self.axes](x, weight, bias, stride, w.pad, w.dilation, self.group)
        return y if len(lead) == 1 else y.reshape(*lead, *y.shape[1:])


@layer("Pooling")
class Pooling(Layer):
    """Max or average pooling with Caffe's windows (see ``shapes.vision.pooled_size``)."""

    takes_half = True

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: Context) -> None:
        super().__init__(param, spec, context)
        self.pool = Pool(param)

    def forward(self, *bottoms: Tensor) -> Tops:
        return self.pool(bottoms[0])


class Pool:
    """Pools maps (N, C, H, W) as the pooling_param of ``param`` says; with the mask if it asks."""

    def __init__(self, param: pb.LayerParameter) -> None:
        p = param.pooling_param
        self.window = None if p.global_pooling else pool_window(param, 1, 1)
        self.floor = p.round_mode == pb.PoolingParameter.FLOOR
        self.is_max = p.pool == pb.PoolingParameter.MAX
        self.with_mask = len(param.top) > 1

    def __call__(self, x: Tensor) -> Tops:
        """Return the pooled maps, and the mask."""
        size = (x.shape[2], x.shape[3])
        window = self.window or Window(size, (1, 1), (0, 0), (1, 1))
        out = pooled_size(size, window, self.floor)
        if self.is_max:
            return _max_pool(x, window, out, self.with_mask)
        return (_average_pool(x, window, out),)


def _margins(size: torch.Size, window: Window, out: tuple[int, int]) -> list[int]:
    """Padding (left, right, top, bottom) with which the windows tile the map exactly."""
    margins = []
    for n, k, s, pad, count in zip(size, window.kernel, window.stride, window.pad, out):
        margins.append((pad, (count - 1) * s + k - n - pad))
    return [*margins[1], *margins[0]]


def _max_pool(x: Tensor, window: Window, out: tuple[int, int], with_mask: bool) -> Tops:
    margins = _margins(x.shape[2:], window, out)
    if not with_mask and not any(margins):
        return (F.max_pool2d(x, window.kernel, window.stride),)
    padded = F.pad(x, margins, value=torch.finfo(x.dtype).min)
    if not with_mask:
        return (F.max_pool2d(padded, window.kernel, window.stride),)
    top, index = F.max_pool2d(padded, window.kernel, window.stride, return_indices=True)
    row = index.div(padded.shape[3], rounding_mode="floor") - margins[2]
    column = index % padded.shape[3] - margins[0]
    inside = (row >= 0) & (row < x.shape[2]) & (column >= 0) & (column < x.shape[3])
    return top, torch.where(inside, row * x.shape[3] + column, -1).to(x.dtype)


def _average_pool(x: Tensor, window: Window, out: tuple[int, int]) -> Tensor:
    margins = _margins(x.shape[2:], window, out)
    total = F.avg_pool2d(F.pad(x, margins), window.kernel, window.stride, divisor_override=1)
    # A window is cut at the map's end plus ONE padding before its cells are counted.
    cells = [
        [min(i * s - pad + k, n + pad) - (i * s - pad) for i in range(count)]
        for n, k, s, pad, count in zip(x.shape[2:], window.kernel, window.stride, window.pad, out)
    ]
    if all(len(set(side)) == 1 for side in cells):
        return total / (cells[0][0] * cells[1][0])
    return total / _divisors(tuple(cells[0]), tuple(cells[1]), x.device, x.dtype)


@functools.lru_cache(maxsize=64)
def _divisors(
    rows: tuple[int, ...], columns: tuple[int, ...], device: torch.device, dtype: torch.dtype
) -> Tensor:
    table = torch.tensor(rows)[:, None] * torch.tensor(columns)[None, :]
    return table.to(device, dtype)
