"""Losses beside detection's: each makes one number, divided by how much it was made of."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from scratchdet_caffe.caffeproto import array_of, read_binary
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.detection.losses import softmax_loss
from scratchdet_caffe.engine.layers.base import Context, Layer, Tops, layer, rows
from scratchdet_caffe.engine.layers.gradients import (
    refuse_gradient,
    refuse_unforced,
    with_gradient_of,
)
from scratchdet_caffe.engine.shapes.loss import check_matrix
from scratchdet_caffe.engine.shapes.registry import Spec
from scratchdet_caffe.errors import UserError

#: No probability counts as smaller than this in a logarithm.
_FLOOR = 1e-20


class Loss(Layer):
    """A layer whose first top is a loss, of predictions and what they should have been."""

    is_loss = True

    def labels(self, bottom: Tensor, classes: int, ignored: int | None = None) -> Tensor:
        """Return labels (K,) as indices; all but ``ignored`` must name a class."""
        labels = bottom.detach().flatten().long()
        checked = labels if ignored is None else labels[labels != ignored]
        if checked.numel() and not 0 <= int(checked.min()) <= int(checked.max()) < classes:
            raise self.error(
                f"labels must lie between 0 and {classes - 1}, but reach from "
                f"{int(checked.min())} to {int(checked.max())}"
            )
        return labels

    def without_labels(self, loss: Tensor, labels: Tensor) -> Tops:
        """Return the top, through which no gradient reaches the labels."""
        return (refuse_unforced(self, loss, labels, "cannot send gradients to its labels"),)

    def divisor(self, mode: int, items: int, places: int, valid: Tensor) -> Tensor:
        """Return what the sum is divided by under ``loss_param.normalization``: 1 or more."""
        by_mode: dict[int, int] = {
            pb.LossParameter.FULL: places,
            pb.LossParameter.BATCH_SIZE: items,
            pb.LossParameter.NONE: 1,
        }
        if mode == pb.LossParameter.VALID:
            return self.context.valid(valid.sum())
        return valid.new_tensor(max(1, by_mode[mode]), dtype=torch.long)

    def normalization(self, default: int) -> int:
        """Return the mode that the prototxt asks for, maybe by the old ``normalize`` flag."""
        p = self.param.loss_param
        if p.HasField("normalization"):
            return p.normalization
        if p.HasField("normalize"):
            return pb.LossParameter.VALID if p.normalize else pb.LossParameter.BATCH_SIZE
        return default


@layer("SoftmaxWithLoss")
class SoftmaxWithLoss(Loss):
    """Cross-entropy of the softmax along ``axis``; by default averaged over valid labels."""

    def forward(self, *bottoms: Tensor) -> Tops:
        x, p = bottoms[0], self.param.loss_param
        axis = self.param.softmax_param.axis % x.dim()
        ignored = p.ignore_label if p.HasField("ignore_label") else None
        labels = self.labels(bottoms[1], x.shape[axis], ignored)
        valid = torch.ones_like(labels, dtype=torch.bool) if ignored is None else labels != ignored
        scores = x.movedim(axis, -1).reshape(-1, x.shape[axis])
        total = softmax_loss(scores[valid], labels[valid]).sum()
        # The "batch" of BATCH_SIZE is all axes before the softmax axis.
        mode = self.normalization(pb.LossParameter.VALID)
        divisor = self.divisor(mode, x.shape[:axis].numel(), labels.numel(), valid)
        return self.without_labels(total / divisor, bottoms[1])


@layer("SigmoidCrossEntropyLoss")
class SigmoidCrossEntropyLoss(Loss):
    """Cross-entropy of each sigmoid; by default divided by the number of items."""

    def forward(self, *bottoms: Tensor) -> Tops:
        x, p = bottoms[0], self.param.loss_param
        target = bottoms[1].detach().reshape(x.shape)
        valid = torch.ones_like(x, dtype=torch.bool)
        if p.HasField("ignore_label"):
            # The target is truncated before the comparison: all of (-1, 1) counts as 0.
            valid = target.trunc() != p.ignore_label
        losses = F.binary_cross_entropy_with_logits(x, target, reduction="none")
        mode = self.normalization(pb.LossParameter.BATCH_SIZE)
        divisor = self.divisor(mode, len(x), x.numel(), valid)
        return self.without_labels(losses[valid].sum() / divisor, bottoms[1])


@layer("EuclideanLoss")
class EuclideanLoss(Loss):
    """Half the squared distance, averaged over items."""

    def forward(self, *bottoms: Tensor) -> Tops:
        a, b = bottoms
        return ((a - b.reshape(a.shape)).square().sum() / (2 * len(a)),)


@layer("SmoothL1Loss")
class SmoothL1Loss(Loss):
    """Half the square of differences below 1, else their size less a half; averaged over items."""

    def forward(self, *bottoms: Tensor) -> Tops:
        a, b = bottoms
        return (F.smooth_l1_loss(a, b.reshape(a.shape), reduction="sum") / len(a),)


@layer("HingeLoss")
class HingeLoss(Loss):
    """One-versus-all hinge of scores (N, ...), its L1 or squared L2 norm averaged over items."""

    def forward(self, *bottoms: Tensor) -> Tops:
        scores = rows(bottoms[0], 1)
        labels = self.labels(bottoms[1], scores.shape[1])
        sign = torch.ones_like(scores).scatter_(1, labels[:, None], -1)
        margins = F.relu(1 + sign * scores)
        if self.param.hinge_loss_param.norm == pb.HingeLossParameter.L2:
            margins = margins.square()
        return self.without_labels(margins.sum() / len(scores), bottoms[1])


@layer("ContrastiveLoss")
class ContrastiveLoss(Loss):
    """Pulls alike pairs together and pushes the others ``margin`` apart."""

    def forward(self, *bottoms: Tensor) -> Tops:
        a, b, alike = bottoms
        p = self.param.contrastive_loss_param
        square = (rows(a, 1) - rows(b, 1)).square().sum(1)
        if p.legacy_version:
            apart = (p.margin - square).clamp(min=0)
        else:
            distance = square.detach().sqrt()
            short = (p.margin - distance).clamp(min=0)
            # The gradient divides by the distance plus 1e-4, so that equal vectors have one.
            apart = with_gradient_of(short.square(), -short / (distance + 1e-4) * square)
        pairs = torch.where(alike.detach().flatten() != 0, square, apart)
        return self.without_labels(pairs.sum() / (2 * len(a)), alike)


@layer("MultinomialLogisticLoss")
class MultinomialLogisticLoss(Loss):
    """Minus the logarithm of the label's probability, averaged over items."""

    def weights(self, labels: Tensor, bottoms: tuple[Tensor, ...]) -> Tensor:
        """Return what the logarithm of each probability (N, C) counts."""
        return F.one_hot(labels, bottoms[0].shape[1:].numel()).to(bottoms[0])

    def forward(self, *bottoms: Tensor) -> Tops:
        p = rows(bottoms[0], 1)
        weights = self.weights(self.labels(bottoms[1], p.shape[1]), bottoms)
        floored = p.detach().clamp(min=_FLOOR)
        # Below the floor the value is flat, but Caffe's gradient stays that of the slope there.
        logarithm = with_gradient_of(floored.log(), p / floored)
        return self.without_labels(-(weights * logarithm).sum() / len(p), bottoms[1])


@layer("InfogainLoss")
class InfogainLoss(MultinomialLogisticLoss):
    """Minus the logs of all probabilities, weighted by the label's row of a matrix."""

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: Context) -> None:
        super().__init__(param, spec, context)
        self.matrix = self._read() if len(param.bottom) < 3 else None

    def _read(self) -> Tensor:
        source = self.param.infogain_loss_param.source
        try:
            return torch.from_numpy(array_of(read_binary(source, pb.BlobProto)))
        except UserError as error:
            raise self.error(str(error)) from error
        except ValueError as error:
            raise self.error(f"{source}: damaged: {error}") from error

    def weights(self, labels: Tensor, bottoms: tuple[Tensor, ...]) -> Tensor:
        classes = bottoms[0].shape[1:].numel()
        if self.matrix is None:
            return bottoms[2].detach().reshape(classes, classes)[labels]
        source = self.param.infogain_loss_param.source
        check_matrix(self.param, source, tuple(self.matrix.shape), classes)
        return self.matrix.to(bottoms[0]).reshape(classes, classes)[labels]

    def forward(self, *bottoms: Tensor) -> Tops:
        (loss,) = super().forward(*bottoms)
        for matrix in bottoms[2:]:
            loss = refuse_gradient(self, loss, matrix, "cannot send gradients to its matrix")
        return (loss,)
