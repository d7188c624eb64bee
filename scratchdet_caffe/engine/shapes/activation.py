"""Shapes of activations: tops like bottoms, and parameters that make no sense refused."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.shapes.registry import Shape, Spec, arity, check, rule

#: The base of Exp and Log that stands for e.
NATURAL = -1.0

_QUARTER = pb.FillerParameter(type="constant", value=0.25)


@rule("AbsVal", "BNLL", "ELU", "Power", "Sigmoid", "Swish", "TanH", "Threshold")
def elementwise(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """One top of the bottom's shape."""
    arity(layer, bottoms, 1)
    return Spec(tops=(bottoms[0],), flops=math.prod(bottoms[0]))


@rule("Clip")
def clip(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Clip: needs both ends of the range."""
    p = layer.clip_param
    check(layer, p.HasField("min") and p.HasField("max"), "clip_param needs min and max")
    return elementwise(layer, bottoms)


@rule("Dropout")
def dropout(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Dropout: the ratio is the share of values that are dropped."""
    ratio = layer.dropout_param.dropout_ratio
    check(layer, 0 <= ratio < 1, f"dropout_ratio must be at least 0 and below 1, not {ratio:g}")
    return elementwise(layer, bottoms)


@rule("Exp")
def exp(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Exp: the base is positive, or -1 for e."""
    base = layer.exp_param.base
    check(layer, base == NATURAL or base > 0, f"base must be positive (or -1 for e), not {base:g}")
    return elementwise(layer, bottoms)


@rule("Log")
def log(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Log: the base is positive and not 1, or -1 for e."""
    base = layer.log_param.base
    check(
        layer,
        base == NATURAL or (base > 0 and base != 1),
        f"base must be positive and not 1 (or -1 for e), not {base:g}",
    )
    return elementwise(layer, bottoms)


@rule("PReLU")
def prelu(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """PReLU: one slope per channel (C,), or one for all ()."""
    p = layer.prelu_param
    arity(layer, bottoms, 1)
    check(layer, len(bottoms[0]) >= 2, "needs a bottom with at least 2 axes (N, C, ...)")
    return Spec(
        tops=(bottoms[0],),
        params=(() if p.channel_shared else (bottoms[0][1],),),
        fillers=(p.filler if p.HasField("filler") else _QUARTER,),
        flops=2 * math.prod(bottoms[0]),
    )
