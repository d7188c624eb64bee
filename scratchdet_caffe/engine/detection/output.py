"""From scores and boxes to detections (layer DetectionOutput)."""

from __future__ import annotations

import torch
from torch import Tensor

from scratchdet_caffe.engine.detection.nms import suppress
from scratchdet_caffe.engine.detection.ranking import largest, ranked


def candidates(scores: Tensor, threshold: float, top_k: int, background: int) -> Tensor:
    """Return which scores stand for a candidate box.

    Args:
        scores: (N, P, C).
        threshold: A score must be greater.
        top_k: At most this many per image and class, the best; -1 for all.
        background: A class without candidates; another number for none.

    Returns:
        (D, 3) int64: image, class, prior, ordered by image and class, then score descending
        (of equal scores the lowest prior first).
    """
    images, _, classes = scores.shape
    passing = scores > threshold
    if 0 <= background < classes:
        passing[..., background] = False
    image, prior, label = passing.nonzero().unbind(1)
    if top_k >= 0:
        counts = torch.bincount(image * classes + label, minlength=images * classes)
        crowded = (counts > top_k).nonzero()[:, 0]
        if len(crowded):
            at = crowded // classes, slice(None), crowded % classes
            values = scores[at].masked_fill(~passing[at], -torch.inf)
            passing[at] = largest(values, torch.full_like(crowded, top_k))
            image, prior, label = passing.nonzero().unbind(1)
    order = ranked(image * classes + label, scores[image, prior, label])
    return torch.stack([image, label, prior], dim=1)[order]


def keep_best(image: Tensor, score: Tensor, keep_top_k: int) -> Tensor:
    """Return which detections are among the ``keep_top_k`` best of their image.

    Args:
        image: (D,) int64, ascending.
        score: (D,).
        keep_top_k: How many to keep per image; -1 for all.

    Returns:
        Bool (D,); of equal scores the first are kept.
    """
    keep = torch.ones_like(image, dtype=torch.bool)
    if keep_top_k < 0:
        return keep
    order = ranked(image, score)
    starts = torch.searchsorted(image, image)  # where the run of the same image begins
    keep[order] = torch.arange(len(image), device=image.device) - starts < keep_top_k
    return keep


def detections(
    found: Tensor, scores: Tensor, boxes: Tensor, nms: tuple[float, float], keep_top_k: int
) -> Tensor:
    """Suppress, keep the best of each image, and write the rows of a DetectionOutput layer.

    Args:
        found: (D, 3), from `candidates`.
        scores: (N, P, C).
        boxes: (D, 4), the box of each candidate.
        nms: Threshold and eta of `suppress`.
        keep_top_k: See `keep_best`.

    Returns:
        (1, 1, K, 7): image, label, score, xmin, ymin, xmax, ymax; by image and label, then
        score descending. If there is no detection in the whole batch: one row per image, the
        image and six times -1.
    """
    image, label, prior = found.unbind(1)
    keep = suppress(boxes, image * scores.shape[2] + label, *nms)
    image, label, prior, boxes = image[keep], label[keep], prior[keep], boxes[keep]
    score = scores[image, prior, label]
    best = keep_best(image, score, keep_top_k)
    if not best.any():
        rows = scores.new_full((len(scores), 7), -1)
        rows[:, 0] = torch.arange(len(scores))
        return rows[None, None]
    head = torch.stack([image.float(), label.float(), score], dim=1)
    return torch.cat([head, boxes], dim=1)[best][None, None]
