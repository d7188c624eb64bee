"""Shapes of BatchNorm and Scale."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.shapes.registry import Shape, Spec, arity, axis_of, check, rule

_ONE = pb.FillerParameter(type="constant", value=1.0)


@rule("BatchNorm")
def batch_norm(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """BatchNorm: blobs are the sum of means, the sum of variances and their common factor."""
    arity(layer, bottoms, 1)
    check(layer, bool(layer.top), "needs a top blob")
    check(layer, len(bottoms[0]) >= 2, "needs a bottom with at least 2 axes (N, C, ...)")
    # Exactly three entries are dropped by Caffe when it loads a net, whatever they say.
    if len(layer.param) != 3:
        check(
            layer,
            all(spec.lr_mult == 0 for spec in layer.param),
            "its statistics are not learned: give its param entries lr_mult: 0",
        )
    check(layer, layer.batch_norm_param.eps >= 0, "eps must not be negative")
    channels = bottoms[0][1]
    return Spec(
        tops=(bottoms[0],),
        params=((channels,), (channels,), (1,)),
        fillers=(None, None, None),
        flops=4 * math.prod(bottoms[0]),
    )


def operand(layer: pb.LayerParameter, bottoms: Sequence[Shape], axis: int, num_axes: int) -> Shape:
    """Return the shape of what a Scale or Bias layer applies to its first bottom.

    That is its second bottom or, without one, a parameter over ``num_axes`` axes from ``axis``
    on (-1: all of them).
    """
    arity(layer, bottoms, 1, 2)
    if len(bottoms) == 2:
        start = axis_of(layer, axis, bottoms[0]) if bottoms[1] else 0
        shape = bottoms[1]
    else:
        check(layer, num_axes >= -1, f"num_axes must be -1 or more, not {num_axes}")
        start = axis_of(layer, axis, bottoms[0]) if num_axes else 0
        end = len(bottoms[0]) if num_axes == -1 else start + num_axes
        check(
            layer,
            end <= len(bottoms[0]),
            f"axis {start} and num_axes {num_axes} reach past a bottom of shape {bottoms[0]}",
        )
        shape = bottoms[0][start:end]
    check(
        layer,
        bottoms[0][start : start + len(shape)] == shape,
        f"a blob of shape {shape} does not fit a bottom of shape {bottoms[0]} at axis {start}",
    )
    return shape


@rule("Scale")
def scale(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Scale: multiply by a blob (a parameter, or the second bottom) along ``axis``."""
    p = layer.scale_param
    factor = operand(layer, bottoms, p.axis, p.num_axes)
    params: list[Shape] = []
    fillers: list[pb.FillerParameter | None] = []
    if len(bottoms) == 1:
        params.append(factor)
        fillers.append(p.filler if p.HasField("filler") else _ONE)
    if p.bias_term:
        params.append(factor)
        fillers.append(p.bias_filler)
    flops = math.prod(bottoms[0]) * (2 if p.bias_term else 1)
    return Spec((bottoms[0],), tuple(params), tuple(fillers), flops)
