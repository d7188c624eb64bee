"""Boxes as offsets from prior boxes, and back: Caffe's three code types.

With ``p`` the prior, ``w`` and ``h`` its sides, and ``v`` its variances:

=============  =====================================  =========================================
code type      offset of a corner or centre           offset of a side
=============  =====================================  =========================================
CORNER         (xmin - p.xmin) / v                    (the two other corners alike)
CENTER_SIZE    (xcentre - p.xcentre) / w / v          log(width / w) / v
CORNER_SIZE    (xmin - p.xmin) / w / v                (the two other corners alike)
=============  =====================================  =========================================

Without ``variances`` (Caffe's "variance encoded in target") the division by ``v`` is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb

CORNER = pb.PriorBoxParameter.CORNER
CENTER_SIZE = pb.PriorBoxParameter.CENTER_SIZE
CORNER_SIZE = pb.PriorBoxParameter.CORNER_SIZE


def centers_and_sizes(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return centres (..., 2) and sides (..., 2), both (x, y), of boxes (..., 4)."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return (low + high) / 2, high - low


def encode(boxes: Tensor, priors: Tensor, variances: Tensor | None, code_type: int) -> Tensor:
    """Return the offsets (..., 4) that lead from ``priors`` to ``boxes``.

    Args:
        boxes: Boxes (..., 4), normalised 0-1.
        priors: Prior boxes, broadcastable to ``boxes``.
        variances: What each offset is divided by, broadcastable to ``boxes``; None for 1.
        code_type: `CORNER`, `CENTER_SIZE` or `CORNER_SIZE`.
    """
    if code_type == CENTER_SIZE:
        center, size = centers_and_sizes(boxes)
        prior_center, prior_size = centers_and_sizes(priors)
        offsets = torch.cat(
            [(center - prior_center) / prior_size, torch.log(size / prior_size)], dim=-1
        )
    else:
        offsets = boxes - priors
        if code_type == CORNER_SIZE:
            size = centers_and_sizes(priors)[1]
            offsets = offsets / torch.cat([size, size], dim=-1)
    return offsets if variances is None else offsets / variances


def decode(offsets: Tensor, priors: Tensor, variances: Tensor | None, code_type: int) -> Tensor:
    """Return the boxes (..., 4) to which ``offsets`` lead from ``priors``; undoes `encode`.

    Args:
        offsets: Predicted offsets (..., 4).
        priors: Prior boxes, normalised 0-1, broadcastable to ``offsets``.
        variances: What each offset is multiplied by, broadcastable to ``offsets``; None for 1.
        code_type: `CORNER`, `CENTER_SIZE` or `CORNER_SIZE`.
    """
    if variances is not None:
        offsets = offsets * variances
    if code_type == CORNER:
        return priors + offsets
    prior_center, prior_size = centers_and_sizes(priors)
    if code_type == CORNER_SIZE:
        return priors + offsets * torch.cat([prior_size, prior_size], dim=-1)
    center = offsets[..., :2] * prior_size + prior_center
    half = torch.exp(offsets[..., 2:]) * prior_size / 2
    return torch.cat([center - half, center + half], dim=-1)
