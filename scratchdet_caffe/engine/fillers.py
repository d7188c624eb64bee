"""Caffe's weight fillers: how a parameter blob starts."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.shapes.fillers import check_filler
from scratchdet_caffe.errors import UserError


def fill(blob: Tensor, filler: pb.FillerParameter, generator: torch.Generator) -> None:
    """Fill ``blob`` in place by ``filler``; random numbers come from ``generator``.

    Raises:
        UserError: The filler type is unknown or does not fit the blob.
    """
    check_filler(filler)
    if not blob.numel():
        return
    if filler.type == "constant":
        blob.fill_(filler.value)
    elif filler.type == "uniform":
        blob.uniform_(filler.min, filler.max, generator=generator)
    elif filler.type == "gaussian":
        blob.normal_(filler.mean, filler.std, generator=generator)
        if filler.sparse >= 0:
            # On average `sparse` non-zero inputs per output.
            keep = min(1.0, filler.sparse / _first(blob))
            blob.mul_(torch.full_like(blob, keep).bernoulli_(generator=generator))
    elif filler.type == "positive_unitball":
        blob.uniform_(0, 1, generator=generator)
        rows = blob.view(_first(blob), -1)
        rows.div_(rows.sum(1, keepdim=True))
    elif filler.type == "xavier":
        bound = math.sqrt(3.0 / _fan(blob, filler))
        blob.uniform_(-bound, bound, generator=generator)
    elif filler.type == "msra":
        blob.normal_(0, math.sqrt(2.0 / _fan(blob, filler)), generator=generator)
    elif filler.type == "bilinear":
        blob.copy_(_bilinear(blob))


def _first(blob: Tensor) -> int:
    """Length of axis 0; 1 for a single number."""
    return blob.shape[0] if blob.dim() else 1


def _fan(blob: Tensor, filler: pb.FillerParameter) -> float:
    # Caffe counts per item of axis 0 and of axis 1, for any number of axes.
    fan_in = blob.numel() / _first(blob)
    fan_out = blob.numel() / (blob.shape[1] if blob.dim() > 1 else 1)
    if filler.variance_norm == pb.FillerParameter.AVERAGE:
        return (fan_in + fan_out) / 2
    return fan_out if filler.variance_norm == pb.FillerParameter.FAN_OUT else fan_in


def _bilinear(blob: Tensor) -> Tensor:
    if blob.dim() != 4 or blob.shape[2] != blob.shape[3]:
        raise UserError(f"a bilinear filler needs a square kernel, not shape {tuple(blob.shape)}")
    side = blob.shape[3]
    factor = math.ceil(side / 2)
    centre = (2 * factor - 1 - factor % 2) / (2.0 * factor)
    ramp = 1 - (torch.arange(side) / factor - centre).abs()
    return (ramp[:, None] * ramp[None, :]).expand_as(blob)
