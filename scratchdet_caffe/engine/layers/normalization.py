"""BatchNorm and Scale, alone and fused."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.layers.base import Context, Layer, Tops, layer
from scratchdet_caffe.engine.ranks import Ranks
from scratchdet_caffe.engine.shapes.registry import Spec
from scratchdet_caffe.engine.synced_norm import SyncedNorm


@layer("BatchNorm")
class BatchNorm(Layer):
    """Normalise each channel by its batch (TRAIN) or stored (TEST) mean and variance.

    The blobs are running *sums*: each training pass multiplies all three by
    ``moving_average_fraction`` and adds the batch mean, the batch variance times m/(m-1),
    and 1. Whoever reads them divides by the third.
    """

    takes_half = True

    learnable = False
    #: The processes whose batches are normalised together with this one's, if any.
    synced: Ranks | None = None

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: Context) -> None:
        super().__init__(param, spec, context)
        p = param.batch_norm_param
        self.eps, self.fraction = p.eps, p.moving_average_fraction
        self.asked = p.use_global_stats if p.HasField("use_global_stats") else None

    @property
    def use_global(self) -> bool:
        """Whether the stored statistics are used: as the prototxt says, else unless training."""
        return not self.training if self.asked is None else self.asked

    def forward(self, *bottoms: Tensor) -> Tops:
        return (self.normalise(bottoms[0], None, None),)

    def normalise(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """Return ``x`` normalised, then times ``weight`` plus ``bias`` where given (C,)."""
        mean_sum, var_sum, factor = self.blobs
        if self.use_global:
            scale = torch.where(factor == 0, 0.0, 1 / factor)
            return F.batch_norm(
                x, mean_sum * scale, var_sum * scale, weight, bias, False, 0.0, self.eps
            )
        if self.synced is not None:
            top, mean, var = SyncedNorm.apply(x, weight, bias, self.eps, self.synced)  # type: ignore[no-untyped-call]
            self._remember(mean, var)
            return top  # type: ignore[no-any-return]
        # With momentum 1 torch leaves exactly this batch's mean and m/(m-1) variance here.
        mean, var = torch.zeros_like(mean_sum), torch.zeros_like(var_sum)
        if x.numel() == x.shape[1]:
            # One value per channel: torch refuses, Caffe normalises it to 0 with variance 0.
            mean.copy_(x.detach().reshape(-1))
            top = x * 0 if weight is None else x * 0 * weight.reshape(1, -1, *[1] * (x.dim() - 2))
            top = top if bias is None else top + bias.reshape(1, -1, *[1] * (x.dim() - 2))
        else:
            top = F.batch_norm(x, mean, var, weight, bias, True, 1.0, self.eps)
        self._remember(mean, var)
        return top

    @torch.no_grad()
    def _remember(self, mean: Tensor, var: Tensor) -> None:
        mean_sum, var_sum, factor = self.blobs
        # One call each: in a narrow net these small ones are what costs. (Arithmetic with a Python
        # number makes a tensor of it first.)
        torch.add(mean, mean_sum, alpha=self.fraction, out=mean_sum)
        torch.add(var, var_sum, alpha=self.fraction, out=var_sum)
        torch.add(torch.ones_like(factor), factor, alpha=self.fraction, out=factor)


@layer("Scale")
class Scale(Layer):
    """y = x * factor (+ bias), the factor being a parameter or the second bottom."""

    takes_half = True

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: Context) -> None:
        super().__init__(param, spec, context)
        self.axis, self.bias_term = param.scale_param.axis, param.scale_param.bias_term

    def forward(self, *bottoms: Tensor) -> Tops:
        x = bottoms[0]
        blobs = list(self.blobs)
        factor = bottoms[1] if len(bottoms) == 2 else blobs.pop(0)
        axis = self.axis % x.dim() if factor.dim() else 0
        spread = (*factor.shape, *[1] * (x.dim() - axis - factor.dim()))
        top = x * factor.reshape(spread)
        return (top + blobs[0].reshape(spread) if self.bias_term else top,)

    def is_per_channel(self) -> bool:
        """Tell whether this is the plain channel-wise form that BatchNorm can absorb."""
        p = self.param.scale_param
        return len(self.param.bottom) == 1 and p.axis == 1 and p.num_axes == 1


class BatchNormScale:
    """BatchNorm, Scale and ReLU in one pass over the blob; the numbers are the same.

    It is a way of running its layers, not a layer: their blobs stay where they are.
    """

    def __init__(self, norm: BatchNorm, scale: Scale, relu: bool) -> None:
        self.norm, self.scale, self.relu = norm, scale, relu

    def __call__(self, *bottoms: Tensor) -> Tops:
        """Return what the fused layers make of their one bottom."""
        weight, *bias = self.scale.blobs
        top = self.norm.normalise(bottoms[0], weight, bias[0] if bias else None)
        return (F.relu_(top) if self.relu else top,)
