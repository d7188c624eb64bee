"""Shapes of layers with sliding windows beside convolution and pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.shapes.registry import Shape, Spec, arity, axis_of, check, rule
from scratchdet_caffe.engine.shapes.vision import conv_window, pool_window, pooled_size


@rule("Deconvolution")
def deconvolution(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Deconvolution: stride * (in - 1) + dilated kernel - 2 pad per axis."""
    p = layer.convolution_param
    check(layer, len(bottoms) >= 1, "needs a bottom blob")
    axis = axis_of(layer, p.axis, bottoms[0])
    leading, channels, spatial = bottoms[0][:axis], bottoms[0][axis], bottoms[0][axis + 1 :]
    window = conv_window(layer, len(spatial))
    check(layer, p.num_output > 0, "num_output must be at least 1")
    check(layer, p.group > 0, "group must be at least 1")
    check(
        layer,
        min(bottoms[0][axis:]) > 0,
        f"'{layer.bottom[0]}' of shape {bottoms[0]} has no pixels",
    )
    for count, what in ((channels, "channels"), (p.num_output, "outputs")):
        check(layer, count % p.group == 0, f"{count} {what} do not divide by group {p.group}")
    for other in bottoms[1:]:
        check(layer, other == bottoms[0], f"bottoms differ in shape: {bottoms[0]}, {other}")
    out = tuple(
        s * (size - 1) + d * (k - 1) + 1 - 2 * pad
        for size, k, s, pad, d in zip(
            spatial, window.kernel, window.stride, window.pad, window.dilation
        )
    )
    check(layer, min(out, default=1) > 0, f"the padding leaves nothing of the top: {out}")
    weight = (channels, p.num_output // p.group, *window.kernel)
    top = (*leading, p.num_output, *out)
    per_top = 2 * math.prod(bottoms[0]) * math.prod(weight[1:])
    per_top += math.prod(top) if p.bias_term else 0
    return Spec(
        tops=(top,) * len(bottoms),
        params=(weight, (p.num_output,)) if p.bias_term else (weight,),
        fillers=(p.weight_filler, p.bias_filler) if p.bias_term else (p.weight_filler,),
        flops=per_top * len(bottoms),
    )


@rule("Im2col")
def im2col(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Im2col: the values under each window as channels, (..., C * kernel, windows...)."""
    arity(layer, bottoms, 1)
    shape = bottoms[0]
    axis = axis_of(layer, layer.convolution_param.axis, shape)
    window = conv_window(layer, len(shape) - axis - 1)
    out = []
    for size, k, s, pad, d in zip(
        shape[axis + 1 :], window.kernel, window.stride, window.pad, window.dilation
    ):
        room = size + 2 * pad - (d * (k - 1) + 1)
        check(
            layer, room >= 0, f"the kernel ({k}, dilation {d}) is larger than the bottom ({size})"
        )
        out.append(room // s + 1)
    return Spec(tops=((*shape[:axis], shape[axis] * math.prod(window.kernel), *out),))


def pyramid(layer: pb.LayerParameter, height: int, width: int) -> list[pb.LayerParameter]:
    """Return the pooling layer of each level of an SPP layer: 1, 2, 4, ... bins per side."""
    levels = []
    for level in range(layer.spp_param.pyramid_height):
        bins = 2**level
        kernel = [-(-size // bins) for size in (height, width)]
        # What is missing at the far end is shared out to both ends as padding.
        pad = [(k * bins - size + 1) // 2 for k, size in zip(kernel, (height, width))]
        pool = pb.LayerParameter(name=layer.name, type=layer.type)
        pool.pooling_param.pool = layer.spp_param.pool  # type: ignore[assignment]
        for i, side in enumerate("hw"):
            setattr(pool.pooling_param, f"kernel_{side}", kernel[i])
            setattr(pool.pooling_param, f"stride_{side}", kernel[i])
            setattr(pool.pooling_param, f"pad_{side}", pad[i])
        levels.append(pool)
    return levels


@rule("SPP")
def spp(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """SPP: the bins of all levels in one row (N, C * bins); a single level keeps its 4 axes."""
    p = layer.spp_param
    arity(layer, bottoms, 1)
    check(layer, len(bottoms[0]) == 4, f"needs a bottom with 4 axes, not {len(bottoms[0])}")
    check(layer, p.pool != pb.SPPParameter.STOCHASTIC, "STOCHASTIC pooling has no CPU form")
    check(layer, p.pyramid_height > 0, "pyramid_height must be at least 1")
    items, channels, *size = bottoms[0]
    check(layer, min(channels, *size) > 0, f"needs a bottom with pixels, not {bottoms[0]}")
    # Higher than this a bin would be padding only; so high is refused below, level by level.
    check(layer, p.pyramid_height <= max(size).bit_length() + 1, "pyramid_height is too large")
    bins = []
    for level in pyramid(layer, size[0], size[1]):
        bins.append(pooled_size((size[0], size[1]), pool_window(level, size[0], size[1])))
    if len(bins) == 1:
        return Spec(tops=((items, channels, *bins[0]),))
    return Spec(tops=((items, channels * sum(h * w for h, w in bins)),))
