"""What a filler may be: a matter of its message alone, so it is known before anything is filled."""

from __future__ import annotations

import math

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.errors import UserError, nearest

_TYPES = ("constant", "uniform", "gaussian", "positive_unitball", "xavier", "msra", "bilinear")


def check_filler(filler: pb.FillerParameter) -> None:
    """Raise a `UserError` unless the filler's type is known and its numbers make sense."""
    if filler.type not in _TYPES:
        raise UserError(f"unknown filler type '{filler.type}'{nearest(filler.type, _TYPES)}")
    for name in ("value", "min", "max", "mean", "std"):
        if not math.isfinite(getattr(filler, name)):
            raise UserError(f"the filler's {name} must be a number, not {getattr(filler, name)}")
    if filler.type == "uniform" and filler.min > filler.max:
        raise UserError(f"the filler's min {filler.min:g} is above its max {filler.max:g}")
    if filler.type == "gaussian" and filler.std < 0:
        raise UserError(f"the filler's std must not be negative, but is {filler.std:g}")
