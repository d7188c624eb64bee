"""In which numbers a net computes: float32, or the half floats of mixed precision.

With "bf16" the layers that torch's autocast can run in bfloat16 do (convolutions, products and
what lies between them); weights, their update, BatchNorm's statistics, softmaxes and losses stay
in float32. "tf32" lets a GPU's convolutions and products round their inputs to 10 bits.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from scratchdet_caffe.errors import UserError, nearest

PRECISIONS = ("float32", "tf32", "bf16")


def check_precision(name: str) -> str:
    """Return ``name``, one of `PRECISIONS`.

    Raises:
        UserError: It is none of them.
    """
    if name not in PRECISIONS:
        raise UserError(
            f"no precision '{name}'{nearest(name, PRECISIONS)}: choose {', '.join(PRECISIONS)}"
        )
    return name


def allow_tf32(allowed: bool) -> None:
    """Let convolutions and products on GPUs use TF32, or not; it holds for the whole process."""
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed


def computing_in(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which a net on ``device`` makes its forward pass."""
    if precision != "bf16":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
