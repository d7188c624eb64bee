"""BatchNorm by the statistics of the batches of all processes together.

torch's SyncBatchNorm runs on GPUs only; this runs wherever the processes meet.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from scratchdet_caffe.engine.ranks import Ranks


class SyncedNorm(torch.autograd.Function):
    """Normalise ``x (N, C, ...)`` by mean and biased variance over the batches of all processes.

    ``apply(x, weight, bias, eps, ranks)`` returns the top, the mean ``(C,)`` and the variance
    times M/(M-1) ``(C,)``, M being the values per channel in all processes. The gradient of ``x``
    is that of the *sum* of the processes' losses, so that averaging parameter gradients over
    processes gives the gradient of the mean loss.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, ranks: Ranks
    ) -> tuple[Tensor, Tensor, Tensor]:
        channels = x.shape[1]
        var, mean = torch.var_mean(x.float(), _others(x), correction=0)
        count = mean.new_full((1,), x.numel() // channels)
        # (world, C) each; the variance of all from those of the parts, without cancellation.
        parts = ranks.gathered(torch.cat([mean, var, count]))
        means, variances, counts = torch.split(parts, [channels, channels, 1], dim=1)
        total = counts.sum()
        mean = (counts * means).sum(0) / total
        var = (counts * (variances + (means - mean).square())).sum(0) / total
        top = F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)
        ctx.ranks, ctx.with_bias = ranks, bias is not None
        ctx.save_for_backward(x, weight, mean, torch.rsqrt(var + eps), total)
        unbiased = var * (total / (total - 1))
        ctx.mark_non_differentiable(mean, unbiased)
        return top, mean, unbiased

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        x, weight, mean, scale, total = ctx.saved_tensors
        grad, spread = grads[0], (1, -1, *[1] * (x.dim() - 2))
        normalised = (x - mean.view(spread)) * scale.view(spread)
        own = torch.stack([grad.sum(_others(x)), (grad * normalised).sum(_others(x))])
        shared = own.clone()
        ctx.ranks.start_sum(shared)()
        shift, slope = shared / total
        back = grad - shift.view(spread) - normalised * slope.view(spread)
        factor = scale if weight is None else scale * weight
        back = back * factor.view(spread)
        grad_weight = None if weight is None else own[1]
        return back, grad_weight, own[0] if ctx.with_bias else None, None, None


def _others(x: Tensor) -> list[int]:
    """All axes but the channels."""
    return [0, *range(2, x.dim())]
