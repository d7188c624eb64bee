"""Many detections of one object made one: box voting, and soft non-maximum suppression.

All work on the detections of one class in one picture. Boxes are xmin, ymin, xmax, ymax in
pixels, both ends inside, as in RefineDet's test code, whose rules these are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.metrics import overlap

Floats = npt.NDArray[np.float64]

VOTING_OVERLAP = 0.45
"""Detections that overlap the best one by this or more vote with it."""
SOFT_OVERLAP, SOFT_SIGMA = 0.3, 0.5
"""Of soft suppression: where the linear decay begins, and the width of the Gaussian one."""


def vote(detections: Floats, soft: float | None = None) -> Floats:
    """Merge detections by box voting.

    The best detection and all that overlap it enough become one box, the mean of theirs by
    score, with the best score; then the best of the rest, and so on.

    Args:
        detections: ``(D, 5)`` score and box.
        soft: None for VOC's rule. For COCO's, the score from which on voters that the best box
            does not explain stay beside it: each with its score times one minus its overlap.

    Returns:
        ``(K, 5)``, the best score first.
    """
    rest = detections[np.argsort(-detections[:, 0], kind="stable")]
    merged = [np.empty((0, 5))]
    while len(rest):
        iou = _overlaps(rest[0, 1:], rest[:, 1:])
        voting = iou >= VOTING_OVERLAP
        voting[0] = True  # also a box without area
        voters = rest[voting]
        weights = np.maximum(voters[:, 0], 1e-12)  # scores of 0 are possible, too
        box = np.average(voters[:, 1:], axis=0, weights=weights)
        if soft is not None and len(voters) > 1:
            left = voters.copy()
            left[:, 0] *= 1 - iou[voting]
            merged.append(left[left[:, 0] >= soft])
        merged.append(np.append(rest[0, 0], box)[None])
        rest = rest[~voting]
    result = np.concatenate(merged)
    return np.asarray(result[np.argsort(-result[:, 0], kind="stable")])


def soft_suppress(detections: Floats, kind: str, least: float) -> Floats:
    """Lower the scores of detections that overlap better ones (Bodla et al., ICCV 2017).

    The best detection is kept; the scores of all others fall by their overlap with it, to
    ``1 - IoU`` of themselves where that is above 0.3 ("linear"), or by ``exp(-IoU^2 / 0.5)``
    ("gaussian"); then the best of the rest, and so on.

    Args:
        detections: ``(D, 5)`` score and box.
        kind: "linear" or "gaussian".
        least: Detections whose score falls below this are dropped.

    Returns:
        ``(K, 5)`` with their new scores, the best first.
    """
    rest, kept = detections[detections[:, 0] >= least], [np.empty((0, 5))]
    while len(rest):
        best = int(rest[:, 0].argmax())
        kept.append(rest[best : best + 1])
        iou = _overlaps(rest[best, 1:], rest[:, 1:])
        if kind == "linear":
            decay = np.where(iou > SOFT_OVERLAP, 1 - iou, 1.0)
        else:
            decay = np.exp(-(iou**2) / SOFT_SIGMA)
        rest = np.delete(np.column_stack([rest[:, 0] * decay, rest[:, 1:]]), best, axis=0)
        rest = rest[rest[:, 0] >= least]
    return np.concatenate(kept)


def _overlaps(box: Floats, boxes: Floats) -> Floats:
    return overlap(np.broadcast_to(box, boxes.shape), boxes, border=1.0)
