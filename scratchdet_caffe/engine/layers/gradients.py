"""Where Caffe's backward pass is not the derivative of its forward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from scratchdet_caffe.engine.layers.base import Layer


class _Borrow(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, surrogate: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return None, grads[0]


def with_gradient_of(value: Tensor, surrogate: Tensor) -> Tensor:
    """Return ``value``, whose gradient is that of ``surrogate`` (a tensor of the same shape)."""
    top: Tensor = _Borrow.apply(value.detach(), surrogate)  # type: ignore[no-untyped-call]
    return top


class _Refuse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, top: Tensor, bottom: Tensor, layer: Layer, why: str) -> Tensor:
        ctx.layer, ctx.why = layer, why
        return top.view_as(top)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        # Zeros come from a blob that no loss looks at: Caffe skips such a layer.
        if ctx.layer.context.force_backward or bool(grads[0].any()):
            raise ctx.layer.error(ctx.why)
        return grads[0], None, None, None


def refuse_gradient(layer: Layer, top: Tensor, bottom: Tensor, why: str) -> Tensor:
    """Return ``top``; a backward pass through it fails with ``why`` if ``bottom`` needs it.

    Args:
        layer: The layer that has no gradient to give, to be named in the error.
        top: What the layer makes.
        bottom: The bottom that must not need a gradient; one that needs none is no mistake.
        why: The sentence of the error.
    """
    if not bottom.requires_grad:
        return top
    refusing: Tensor = _Refuse.apply(top, bottom, layer, why)  # type: ignore[no-untyped-call]
    return refusing


def refuse_unforced(layer: Layer, top: Tensor, bottom: Tensor, why: str) -> Tensor:
    """As `refuse_gradient`, for bottoms that ``force_backward`` leaves out: labels and marks."""
    if layer.context.force_backward:
        return top
    return refuse_gradient(layer, top, bottom, why)
