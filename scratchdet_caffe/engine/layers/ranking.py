"""Layers that rank values: Accuracy and ArgMax. Neither has a backward pass."""

from __future__ import annotations

import torch
from torch import Tensor

from scratchdet_caffe.engine.layers.base import Layer, Tops, layer, rows
from scratchdet_caffe.engine.layers.gradients import refuse_gradient
from scratchdet_caffe.engine.layers.loss import Loss

_NO_GRADIENT = "ranks have no gradient to pass on"


@layer("Accuracy")
class Accuracy(Loss):
    """The share of labels among the ``top_k`` best classes; the second top has it per class.

    Among equal scores the larger class index ranks first. Without any label the share is 0 / 0,
    NaN; that of a class without labels is 0.
    """

    is_loss = False

    def forward(self, *bottoms: Tensor) -> Tops:
        x, p = bottoms[0], self.param.accuracy_param
        scores = x.detach().movedim(p.axis, -1)
        classes = scores.shape[-1]
        scores = scores.reshape(-1, classes)
        ignored = p.ignore_label if p.HasField("ignore_label") else None
        labels = self.labels(bottoms[1], classes, ignored)
        if ignored is not None:
            scores, labels = scores[labels != ignored], labels[labels != ignored]
        own = scores.gather(1, labels[:, None])
        later = torch.arange(classes, device=x.device) > labels[:, None]
        better = (scores > own) | ((scores == own) & later)
        right = (better.sum(1) < p.top_k).to(x.dtype)
        count = torch.bincount(labels, minlength=classes)
        per_class = torch.zeros(classes, dtype=x.dtype, device=x.device).index_add(
            0, labels, right
        ) / count.clamp(min=1)
        share = right.sum() / len(right) if len(right) else x.new_tensor(torch.nan)
        return refuse_gradient(self, share, x, _NO_GRADIENT), per_class


@layer("ArgMax")
class ArgMax(Layer):
    """The places of the ``top_k`` largest values, of each item or along ``axis``.

    Among equal values the later one ranks first. With ``out_max_val`` the values follow the
    places; with an axis they stand instead of them.
    """

    def forward(self, *bottoms: Tensor) -> Tops:
        x, p = bottoms[0], self.param.argmax_param
        by_axis = p.HasField("axis")
        values = x.detach() if by_axis else rows(x.detach(), 1)
        axis = p.axis if by_axis else 1
        order = values.flip(axis).sort(dim=axis, descending=True, stable=True)
        best = order.values.narrow(axis, 0, p.top_k)
        place = (values.shape[axis] - 1 - order.indices.narrow(axis, 0, p.top_k)).to(x.dtype)
        if by_axis:
            top = best if p.out_max_val else place
        else:
            top = torch.stack((place, best) if p.out_max_val else (place,), 1)
            top = top.reshape(*top.shape, *[1] * (x.dim() - 3))
        return (refuse_gradient(self, top, x, _NO_GRADIENT),)
