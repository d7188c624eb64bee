"""Geometry of boxes given as their corners (xmin, ymin, xmax, ymax)."""

from __future__ import annotations

import torch
from torch import Tensor

_TINY = torch.finfo(torch.float32).tiny


def box_area(boxes: Tensor) -> Tensor:
    """Return the areas (...) of boxes (..., 4); an inverted box has area 0."""
    xmin, ymin, xmax, ymax = boxes.unbind(-1)
    return (xmax - xmin).clamp(min=0) * (ymax - ymin).clamp(min=0)


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Return the Jaccard overlap (intersection over union) of two broadcastable sets of boxes.

    Boxes without area overlap nothing.

    Args:
        a: Boxes (..., 4).
        b: Boxes (..., 4); the leading axes broadcast against those of ``a``.

    Returns:
        Overlaps (...) within [0, 1].
    """
    # Contiguous planes: the loops below then run along the last leading axis in whole vectors.
    a_xmin, a_ymin, a_xmax, a_ymax = (side.contiguous() for side in a.unbind(-1))
    b_xmin, b_ymin, b_xmax, b_ymax = (side.contiguous() for side in b.unbind(-1))
    width = torch.minimum(a_xmax, b_xmax).sub_(torch.maximum(a_xmin, b_xmin)).clamp_(min=0)
    height = torch.minimum(a_ymax, b_ymax).sub_(torch.maximum(a_ymin, b_ymin)).clamp_(min=0)
    intersection = width.mul_(height)
    union = (box_area(a) + box_area(b)).sub_(intersection)
    return intersection.div_(union.clamp_(min=_TINY))


def crosses_border(boxes: Tensor) -> Tensor:
    """Return which normalised boxes (..., 4) reach outside the picture, as bool (...)."""
    return ((boxes < 0) | (boxes > 1)).any(-1)
