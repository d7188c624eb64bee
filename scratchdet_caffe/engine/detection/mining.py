"""Which priors enter the confidence loss: hard negatives (SSD, 2.2) and hard examples (OHEM)."""

from __future__ import annotations

import torch
from torch import Tensor

from scratchdet_caffe.engine.detection.boxes import box_area
from scratchdet_caffe.engine.detection.matching import UNMATCHED
from scratchdet_caffe.engine.detection.nms import suppress
from scratchdet_caffe.engine.detection.ranking import largest, ranked

#: Suppression before mining drops boxes of a smaller area than this (Caffe's ApplyNMS).
_LEAST_AREA = 1e-5


def hard_negatives(
    loss: Tensor, matched: Tensor, eligible: Tensor, negatives_per_positive: float
) -> Tensor:
    """Select the unmatched priors with the largest loss (MAX_NEGATIVE).

    Args:
        loss: (N, P) confidence loss of each prior as background.
        matched: (N, P) int64, the object of each prior.
        eligible: Bool (N, P), the candidates; see `negative_candidates`.
        negatives_per_positive: In each image at most this many times its matched priors,
            rounded down.

    Returns:
        Bool (N, P).
    """
    positives = (matched >= 0).sum(1)
    wanted = (positives.float() * negatives_per_positive).nan_to_num(0)  # 0 times infinity
    count = torch.minimum(wanted, eligible.sum(1).float()).long()
    return largest(loss.masked_fill(~eligible, -torch.inf), count)


def negative_candidates(matched: Tensor, best: Tensor, neg_overlap: float) -> Tensor:
    """Return which priors are unmatched and overlap every object by less than ``neg_overlap``.

    Args:
        matched: (N, P) int64, the object of each prior.
        best: (N, P) best overlap of each prior with any object.
        neg_overlap: The overlap from which a prior is no clear background.
    """
    return (matched == UNMATCHED) & (best < neg_overlap)


def hard_examples(
    loss: Tensor, matched: Tensor, eligible: Tensor, sample_size: int
) -> tuple[Tensor, Tensor]:
    """Select the priors with the largest loss, matched or not (HARD_EXAMPLE).

    Args:
        loss: (N, P) confidence plus location loss of each prior.
        matched: (N, P) int64, the object of each prior.
        eligible: Bool (N, P), the candidates.
        sample_size: How many to take in each image.

    Returns:
        ``matched`` without the priors that were not taken, and the negatives taken, bool (N, P).
    """
    count = eligible.sum(1).clamp(max=sample_size)
    chosen = largest(loss.masked_fill(~eligible, -torch.inf), count)
    dropped = (matched >= 0) & ~chosen
    return matched.masked_fill(dropped, UNMATCHED), chosen & (matched == UNMATCHED)


def thin_out(eligible: Tensor, loss: Tensor, boxes: Tensor, threshold: float, top_k: int) -> Tensor:
    """Suppress candidates that overlap one with a larger loss.

    Args:
        eligible: Bool (N, P), the candidates.
        loss: (N, P), their rank.
        boxes: (N, P, 4), where they stand.
        threshold: The overlap above which the smaller loss gives way.
        top_k: Only this many candidates of each image take part; -1 for all.

    Returns:
        The remaining candidates, bool (N, P).
    """
    if top_k >= 0:
        count = eligible.sum(1).clamp(max=top_k)
        eligible = largest(loss.masked_fill(~eligible, -torch.inf), count)
    eligible = eligible & (box_area(boxes) >= _LEAST_AREA)
    image, prior = eligible.nonzero().unbind(1)
    order = ranked(image, loss[image, prior])
    image, prior = image[order], prior[order]
    keep = suppress(boxes[image, prior], image, threshold)
    remaining = torch.zeros_like(eligible)
    remaining[image[keep], prior[keep]] = True
    return remaining
