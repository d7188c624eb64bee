"""Box maths on float32 arrays ``(K, 4)``: xmin, ymin, xmax, ymax, normalised to the picture.

The rules are those of SSD-Caffe's bbox_util, float32 included, so that a box on the edge of
a decision falls on the same side.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.caffeproto import caffe_pb2 as pb

Boxes = npt.NDArray[np.float32]
WHOLE: Boxes = np.array([0, 0, 1, 1], np.float32)


def area(boxes: Boxes) -> Boxes:
    """Return the areas ``(...)`` of boxes ``(..., 4)``; inverted boxes have none."""
    sides = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    result: Boxes = sides[..., 0] * sides[..., 1]
    return result


def intersection(first: Boxes, second: Boxes) -> Boxes:
    """Return the areas that boxes ``(..., 4)`` share with boxes ``(..., 4)``, broadcast."""
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    return area(np.concatenate([low, high], axis=-1))


def jaccard(first: Boxes, second: Boxes) -> Boxes:
    """Return intersection over union, broadcast; 0 where the boxes share nothing."""
    shared = intersection(first, second)
    union = area(first) + area(second) - shared
    return _ratio(shared, union)


def coverage(first: Boxes, second: Boxes) -> Boxes:
    """Return the share of ``first`` that ``second`` covers, broadcast."""
    shared = intersection(first, second)
    return _ratio(shared, np.broadcast_to(area(first), shared.shape))


def _ratio(part: Boxes, whole: Boxes) -> Boxes:
    result: Boxes = np.divide(part, whole, out=np.zeros_like(part), where=part > 0)
    return result


def project(boxes: Boxes, window: Boxes) -> tuple[npt.NDArray[np.bool_], Boxes]:
    """Express ``boxes (K, 4)`` in ``window (4,)`` and clip them to it.

    Returns:
        Which boxes keep an area ``(K,)``, and all the clipped boxes ``(K, 4)``.
    """
    apart = (
        (boxes[:, 0] >= window[2])
        | (boxes[:, 2] <= window[0])
        | (boxes[:, 1] >= window[3])
        | (boxes[:, 3] <= window[1])
    )
    origin, size = np.tile(window[:2], 2), np.tile(window[2:] - window[:2], 2)
    inside = np.clip((boxes - origin) / size, 0, 1).astype(np.float32)
    return ~apart & (area(inside) > 0), inside


def emitted(boxes: Boxes, window: Boxes, constraint: pb.EmitConstraint) -> npt.NDArray[np.bool_]:
    """Tell which ``boxes (K, 4)`` a ``window (4,)`` may emit: centre in it, or enough of it."""
    if constraint.emit_type == pb.EmitConstraint.MIN_OVERLAP:
        return np.asarray(coverage(boxes, window) > np.float32(constraint.emit_overlap))
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.asarray(((centres >= window[:2]) & (centres <= window[2:])).all(axis=1))


def mirrored(boxes: Boxes) -> Boxes:
    """Return ``boxes (K, 4)`` of the picture flipped left to right."""
    return np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], axis=1)
