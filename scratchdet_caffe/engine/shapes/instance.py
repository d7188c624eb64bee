"""Shapes of layers that normalise each item of a batch by itself: LRN, MVN, Normalize."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.shapes.registry import Shape, Spec, arity, check, rule

_ONE = pb.FillerParameter(type="constant", value=1.0)


@rule("LRN")
def lrn(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """LRN: over a window of ``local_size`` channels, or pixels in each direction."""
    p = layer.lrn_param
    arity(layer, bottoms, 1)
    check(
        layer,
        p.local_size % 2 == 1 and p.local_size < 2**31 - 1,
        f"local_size must be odd and below 2^31 - 1, not {p.local_size}",
    )
    check(layer, len(bottoms[0]) == 4, f"needs a bottom with 4 axes, not {len(bottoms[0])}")
    check(layer, min(bottoms[0][1:]) > 0, f"needs a bottom with pixels, not {bottoms[0]}")
    taps = p.local_size if p.norm_region == pb.LRNParameter.ACROSS_CHANNELS else p.local_size**2
    return Spec(tops=(bottoms[0],), flops=math.prod(bottoms[0]) * (2 * taps + 2))


@rule("MVN")
def mvn(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """MVN: zero mean and unit variance per channel, or per item."""
    arity(layer, bottoms, 1)
    check(layer, 1 <= len(bottoms[0]) <= 4, f"takes 1 to 4 axes, not {len(bottoms[0])}")
    return Spec(tops=(bottoms[0],), flops=4 * math.prod(bottoms[0]))


@rule("Normalize")
def normalize(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Normalize: unit length per pixel or item, times one scale per channel (C,) or for all ()."""
    p = layer.norm_param
    arity(layer, bottoms, 1)
    check(layer, len(bottoms[0]) >= 2, "needs a bottom with at least 2 axes (N, C, ...)")
    return Spec(
        tops=(bottoms[0],),
        params=(() if p.channel_shared else (bottoms[0][1],),),
        fillers=(p.scale_filler if p.HasField("scale_filler") else _ONE,),
        flops=4 * math.prod(bottoms[0]),
    )
