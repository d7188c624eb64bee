"""The two terms of the MultiBox loss (SSD, section 2.2), and what mining ranks by."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from scratchdet_caffe.caffeproto import caffe_pb2 as pb

#: No prior's softmax loss exceeds this: Caffe floors probabilities at the smallest float32.
MOST_SOFTMAX_LOSS = -math.log(torch.finfo(torch.float32).tiny)


def softmax_loss(conf: Tensor, labels: Tensor) -> Tensor:
    """Return the softmax cross-entropy (K,) of scores (K, C) at labels (K,), floored as Caffe's.

    The gradient is that of the loss without the floor, probabilities minus one-hot.
    """
    loss = F.cross_entropy(conf, labels, reduction="none")
    with torch.no_grad():
        excess = loss - loss.clamp(max=MOST_SOFTMAX_LOSS)
    return loss - excess


def logistic_loss(conf: Tensor, targets: Tensor) -> Tensor:
    """Return the sigmoid cross-entropy (K,), summed over classes, of scores (K, C).

    Args:
        conf: Scores (K, C).
        targets: (K, C); may lie outside [0, 1], see `multibox`.
    """
    return F.binary_cross_entropy_with_logits(conf, targets, reduction="none").sum(-1)


def location_loss(predicted: Tensor, target: Tensor, kind: int) -> Tensor:
    """Return the loss (K,) of predicted offsets (K, 4), summed over the four.

    Args:
        predicted: Offsets (K, 4).
        target: Offsets (K, 4).
        kind: ``pb.MultiBoxLossParameter.SMOOTH_L1`` or ``L2`` (half the squared distance).
    """
    if kind == pb.MultiBoxLossParameter.SMOOTH_L1:
        return F.smooth_l1_loss(predicted, target, reduction="none").sum(-1)
    return F.mse_loss(predicted, target, reduction="none").sum(-1) / 2


def confidence_rank(conf: Tensor, labels: Tensor | int, kind: int) -> Tensor:
    """Return the confidence loss (N, P) of every prior, for mining; without a gradient.

    Args:
        conf: Scores (N, P, C).
        labels: The label of each prior (N, P), or one for all.
        kind: ``pb.MultiBoxLossParameter.SOFTMAX`` or ``LOGISTIC``.
    """
    with torch.no_grad():
        softmax = kind == pb.MultiBoxLossParameter.SOFTMAX
        # log_softmax makes one pass over the scores, logsumexp four.
        score = F.log_softmax(conf, -1) if softmax else conf
        if isinstance(labels, int):
            own = score[..., labels]
        else:
            own = score.gather(-1, labels[..., None])[..., 0]
        if softmax:
            return (-own).clamp(max=MOST_SOFTMAX_LOSS)
        return F.softplus(conf).sum(-1) - own
