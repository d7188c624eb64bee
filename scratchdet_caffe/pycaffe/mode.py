"""Where pycaffe's nets compute, and from which seed: its module-wide settings."""

from __future__ import annotations

import random

import torch

from scratchdet_caffe.engine.loading import set_loading
from scratchdet_caffe.errors import UserError


class _Mode:
    gpu = False
    index = 0
    seed: int | None = None


def set_mode_cpu() -> None:
    """Build nets on the CPU from now on."""
    _Mode.gpu = False


def set_mode_gpu() -> None:
    """Build nets on the GPU from now on."""
    if not torch.cuda.is_available():
        raise UserError("no CUDA device is available: use set_mode_cpu(), or --device cpu")
    _Mode.gpu = True


def set_device(index: int) -> None:
    """Choose the GPU."""
    _Mode.index = index


def set_random_seed(seed: int) -> None:
    """Draw the weights of nets built from now on from ``seed``."""
    _Mode.seed = seed


def set_data_loading(threads: int = 2, workers: int = 0, on_bad: str = "stop") -> None:
    """Let AnnotatedData layers built from now on load with threads, or with worker processes.

    With ``on_bad="skip"`` corrupt records are passed over and counted, instead of the end.
    """
    set_loading(threads, workers, on_bad)


def device() -> torch.device:
    """Return the device of nets built now."""
    return torch.device("cuda", _Mode.index) if _Mode.gpu else torch.device("cpu")


def chosen_seed() -> int | None:
    """Return the seed that the program set, or None."""
    return _Mode.seed


def seed() -> int:
    """Return the seed of nets built now: a random one unless it was set."""
    return random.getrandbits(31) if _Mode.seed is None else _Mode.seed
