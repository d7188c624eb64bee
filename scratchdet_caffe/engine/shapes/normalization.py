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
    check(layer, len(bottoms[0]) >= 2, "needs a bottom with at least 2 axes (N, C, ...)")
    # Exactly three entries are dropped by Caffe when it loads a net, whatever they say.
    if len(layer.param) != 3:
        check(
            layer,
            all(spec.lr_mult == 0 for spec in layer.param),
            "its statistics are not learned: give its param entries lr_mult: 0",
        )
    channels = bottoms[0][1]
    return Spec(
        tops=(bottoms[0],),
        params=((channels,), (channels,), (1,)),
        fillers=(None, None, None),
        flops=4 * math.prod(bottoms[0]),
    )


@rule("Scale")
def scale(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Scale: multiply by a blob (a parameter, or the second bottom) along ``axis``."""
    arity(layer, bottoms, 1, 2)
    p = layer.scale_param
    if len(bottoms) == 2:
        axis = axis_of(layer, p.axis, bottoms[0]) if bottoms[1] else 0
        factor = bottoms[1]
    else:
        check(layer, p.num_axes >= -1, f"num_axes must be -1 or more, not {p.num_axes}")
        axis = axis_of(layer, p.axis, bottoms[0]) if p.num_axes else 0
        end = len(bottoms[0]) if p.num_axes == -1 else axis + p.num_axes
        check(
            layer,
            end <= len(bottoms[0]),
            f"axis {axis} and num_axes {p.num_axes} reach past a bottom of shape {bottoms[0]}",
        )
        factor = bottoms[0][axis:end]
    check(
        layer,
        bottoms[0][axis : axis + len(factor)] == factor,
        f"a factor of shape {factor} does not fit a bottom of shape {bottoms[0]} at axis {axis}",
    )
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
