"""The MultiBox loss of SSD and RefineDet: match, mine, then sum the two terms.

N images, P priors, C classes, L sets of offsets per prior (1 if all classes share them, else C),
G objects in the fullest image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.detection.boxes import crosses_border, overlap
from scratchdet_caffe.engine.detection.coding import decode, encode
from scratchdet_caffe.engine.detection.groundtruth import GroundTruth
from scratchdet_caffe.engine.detection.losses import (
    confidence_rank,
    location_loss,
    logistic_loss,
    softmax_loss,
)
from scratchdet_caffe.engine.detection.matching import match
from scratchdet_caffe.engine.detection.mining import (
    hard_examples,
    hard_negatives,
    negative_candidates,
    thin_out,
)

_P = pb.MultiBoxLossParameter


@dataclass(frozen=True)
class Predictions:
    """What the net says about a batch, and the boxes it speaks of.

    Attributes:
        loc: Offsets (N, P, L, 4).
        conf: Scores (N, P, C), before softmax or sigmoid.
        priors: Prior boxes (N, P, 4), normalised 0-1.
        variances: (P, 4).
        refined: The boxes that targets are encoded against, (N, P, 4): the priors, or what
            RefineDet's ARM made of them.
        objectness: Bool (N, P), which priors the ARM does not rule out; None without an ARM.
    """

    loc: Tensor
    conf: Tensor
    priors: Tensor
    variances: Tensor
    refined: Tensor
    objectness: Tensor | None = None


@dataclass(frozen=True)
class Assignment:
    """Which priors learn what.

    Attributes:
        matched: (N, L, P) int64, the object whose box each prior learns, negative for none.
        negatives: Bool (N, P), the priors that learn background; None for all unmatched ones.
    """

    matched: Tensor
    negatives: Tensor | None

    @property
    def matches(self) -> Tensor:
        """The number of matches, a scalar tensor."""
        return (self.matched >= 0).sum()


@torch.no_grad()
def assign(
    predictions: Predictions, truth: GroundTruth, param: pb.MultiBoxLossParameter
) -> Assignment:
    """Match priors to objects and mine, as ``param`` asks."""
    matched, best = _match(predictions, truth, param)
    if param.mining_type == _P.NONE:
        return Assignment(matched, None)
    one = matched[:, 0]  # mining needs shared locations
    if param.mining_type == _P.MAX_NEGATIVE:
        eligible = negative_candidates(one, best, param.neg_overlap)
        rank = confidence_rank(predictions.conf, param.background_label_id, param.conf_loss_type)
    else:
        eligible = truth.present[:, None].expand_as(one)
        rank = _example_rank(predictions, truth, matched, param)
    if predictions.objectness is not None:
        eligible = eligible & predictions.objectness
    if param.HasField("nms_param") and param.nms_param.nms_threshold > 0:
        boxes = (
            predictions.priors if param.use_prior_for_nms else _decoded(predictions, param)[:, 0]
        )
        # Without top_k Caffe reads 0 here, and no candidate survives.
        nms = param.nms_param
        eligible = thin_out(eligible, rank, boxes, nms.nms_threshold, nms.top_k)
    if param.mining_type == _P.MAX_NEGATIVE:
        return Assignment(matched, hard_negatives(rank, one, eligible, param.neg_pos_ratio))
    one, negatives = hard_examples(rank, one, eligible, param.sample_size)
    return Assignment(one[:, None], negatives)


def multibox_loss(
    predictions: Predictions,
    truth: GroundTruth,
    assignment: Assignment,
    param: pb.MultiBoxLossParameter,
) -> tuple[Tensor, Tensor]:
    """Return the location loss and the confidence loss, summed over the batch (scalars).

    Differentiable in ``predictions.loc`` and ``predictions.conf``. Neither ``loc_weight`` nor
    the divisor is applied.
    """
    predicted, target = _location_pairs(
        predictions, truth, assignment.matched, param, predictions.refined
    )
    location = location_loss(predicted, target, param.loc_loss_type).sum()
    return location, _confidence_loss(predictions, truth, assignment, param)


def _match(
    predictions: Predictions, truth: GroundTruth, param: pb.MultiBoxLossParameter
) -> tuple[Tensor, Tensor]:
    """Objects (N, L, P) of the priors, and the best overlap of each prior (N, P)."""
    classes = torch.arange(predictions.loc.shape[2], device=predictions.loc.device)[:, None]
    if param.use_prior_for_matching:
        matched, best = _match_boxes(truth.boxes, predictions.refined, None, param)
        if param.share_location:
            return matched[:, None], best
        own = (matched[:, None] >= 0) & (_labels(truth, matched)[:, None] == classes)
        return torch.where(own, matched[:, None], -1), best
    # Here Caffe decodes against the plain priors, refined ones or not.
    boxes = _decoded(predictions, param)
    same = None if param.share_location else truth.labels[:, None, :] == classes
    objects = truth.boxes[:, None].expand(-1, boxes.shape[1], -1, -1)
    matched, best = _match_boxes(objects, boxes, same, param)
    return matched, best[:, 0]


def _match_boxes(
    objects: Tensor, boxes: Tensor, same: Tensor | None, param: pb.MultiBoxLossParameter
) -> tuple[Tensor, Tensor]:
    """Match boxes (..., P, 4) to objects (..., G, 4), of which only ``same`` (..., G) count."""
    overlaps = overlap(objects[..., :, None, :], boxes[..., None, :, :])
    if same is not None:
        overlaps = overlaps * same[..., None]
    usable = ~crosses_border(boxes) if param.ignore_cross_boundary_bbox else None
    threshold = param.overlap_threshold if param.match_type == _P.PER_PREDICTION else None
    batch = overlaps.shape[:-2]
    matched, best = match(
        overlaps.flatten(0, -3), threshold, None if usable is None else usable.flatten(0, -2)
    )
    return matched.view(*batch, -1), best.view(*batch, -1)


def _decoded(predictions: Predictions, param: pb.MultiBoxLossParameter) -> Tensor:
    """The boxes that ``loc`` predicts from the plain priors, (N, L, P, 4)."""
    variances = None if param.encode_variance_in_target else predictions.variances
    loc = predictions.loc.transpose(1, 2)
    return decode(loc, predictions.priors[:, None], variances, param.code_type)


def _labels(truth: GroundTruth, matched: Tensor) -> Tensor:
    """The label (N, P) of the object of each prior; meaningless where there is none."""
    return truth.labels.gather(1, matched.clamp(min=0))


def _location_pairs(
    predictions: Predictions,
    truth: GroundTruth,
    matched: Tensor,
    param: pb.MultiBoxLossParameter,
    anchors: Tensor,
) -> tuple[Tensor, Tensor]:
    """Predicted and wanted offsets (K, 4) of the K matches, relative to ``anchors`` (N, P, 4)."""
    image, group, prior = (matched >= 0).nonzero().unbind(1)
    _, priors, groups, _ = predictions.loc.shape
    predicted = predictions.loc.flatten(0, 2).index_select(
        0, (image * priors + prior) * groups + group
    )
    anchor, variance = anchors[image, prior], predictions.variances[prior]
    divisor = None if param.encode_variance_in_target else variance
    box = truth.boxes[image, matched[image, group, prior]]
    target = encode(box, anchor, divisor, param.code_type)
    if param.bp_inside:
        if not param.use_prior_for_matching:
            anchor = decode(predicted.detach(), anchor, divisor, param.code_type)
        outside = (anchor < 0) | (anchor > 1)  # side by side, not box by box
        predicted, target = predicted.masked_fill(outside, 0), target.masked_fill(outside, 0)
    if param.encode_variance_in_target:
        # The value is divided by the variance, but Caffe's gradient is not.
        scaled = (predicted / variance).detach()
        predicted, target = scaled + (predicted - predicted.detach()), target / variance
    return predicted, target


def _example_rank(
    predictions: Predictions,
    truth: GroundTruth,
    matched: Tensor,
    param: pb.MultiBoxLossParameter,
) -> Tensor:
    """Confidence plus location loss (N, P) of every prior, what HARD_EXAMPLE ranks by."""
    one = matched[:, 0]
    labels = torch.where(one >= 0, _labels(truth, one), param.background_label_id)
    rank = confidence_rank(predictions.conf, labels, param.conf_loss_type)
    # Caffe ranks by the offsets from the plain priors, refined ones or not.
    pairs = _location_pairs(predictions, truth, matched, param, predictions.priors)
    rank[one >= 0] += location_loss(*pairs, param.loc_loss_type)
    return rank


def _confidence_loss(
    predictions: Predictions,
    truth: GroundTruth,
    assignment: Assignment,
    param: pb.MultiBoxLossParameter,
) -> Tensor:
    """The confidence loss, summed over the batch."""
    background = param.background_label_id
    conf = predictions.conf.flatten(0, 1)  # (N * P, C)
    labels = _wanted_labels(truth, assignment.matched, param)
    if assignment.negatives is not None:
        chosen = (assignment.matched[:, 0] >= 0) | assignment.negatives
        rows = chosen.flatten().nonzero()[:, 0]
        conf, wanted = conf.index_select(0, rows), labels.flatten()[rows]
    else:
        wanted = labels.flatten()
    if param.conf_loss_type == _P.SOFTMAX:
        return softmax_loss(conf, wanted).sum()
    # Caffe's logistic targets start as the *number* of the background class.
    targets = torch.full_like(conf, background)
    if assignment.negatives is not None:
        targets.scatter_(1, wanted[:, None], 1)
    else:
        # ... get a 1 for matched priors only, and the rows of image n are written n * P
        # numbers, not n * P * C, behind those of the first image.
        image, prior = (assignment.matched >= 0).any(1).nonzero().unbind(1)
        priors, classes = predictions.conf.shape[1:]
        targets.view(-1)[image * priors + prior * classes + labels[image, prior]] = 1
    return logistic_loss(conf, targets).sum()


def _wanted_labels(truth: GroundTruth, matched: Tensor, param: pb.MultiBoxLossParameter) -> Tensor:
    """The label (N, P) that each prior should get, the background's if it has no object."""
    background = param.background_label_id
    if param.map_object_to_agnostic:
        return torch.where((matched >= 0).any(1), background + 1, background)
    labels = truth.labels[:, None].expand(-1, matched.shape[1], -1).gather(2, matched.clamp(min=0))
    # A prior matched in several classes learns the last of them.
    label = torch.where(matched >= 0, labels, -1).amax(1)
    return torch.where(label >= 0, label, background)
