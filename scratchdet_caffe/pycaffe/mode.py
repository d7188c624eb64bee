"""Where pycaffe's nets compute, and from which seed: its module-wide settings."""

from __future__ import annotations

import random

import torch

from scratchdet_caffe.engine.loading import set_loading
from scratchdet_caffe.engine.precision import allow_tf32, check_precision
from scratchdet_caffe.errors import UserError


class _Mode:
    gpu = False
    index = 0
    seed: int | None = None
    precision = "float32"


def set_mode_cpu() -> None:
    """Build nets on the CPU from now on."""
    _Mode.gpu = False


def set_mode_gpu() -> None:
    """Build nets on the GPU from now on."""
    if not torch.cuda.is_available():
        raise UserError(
            "no CUDA device is available: compute on the CPU "
            "(set_mode_cpu(), --device cpu, or without -gpu)"
        )
    _Mode.gpu = True


def set_device(index: int) -> None:
    """Choose the GPU."""
    _Mode.index = index


def set_random_seed(seed: int) -> None:
    """Draw the weights of nets built from now on from ``seed``."""
    _Mode.seed = seed


def set_data_loading(threads: int = 2, workers: int = 0, on_bad: str = "stop") -> None:
    """Let data layers built from now on load with threads, or with worker processes.

    With ``on_bad="skip"`` corrupt records are passed over and counted, instead of the end.
    """
    set_loading(threads, workers, on_bad)


def set_precision(name: str) -> None:
    """Compute in ``name`` in nets and solvers built from now on: float32, tf32 or bf16.

    With "bf16" convolutions and products run in half floats (see ``engine.precision``); weights,
    statistics, losses and updates stay float32, and so do a solver's test nets. "tf32" matters on
    GPUs only; asking for "float32" switches it off there, in the whole process. Caffe has no such
    function.

    Raises:
        UserError: No such precision.
    """
    _Mode.precision = check_precision(name)
    allow_tf32(name == "tf32")


def precision() -> str:
    """Return the precision of nets and solvers built now."""
    return _Mode.precision


def device() -> torch.device:
    """Return the device of nets built now."""
    return torch.device("cuda", _Mode.index) if _Mode.gpu else torch.device("cpu")


def chosen_seed() -> int | None:
    """Return the seed that the program set, or None."""
    return _Mode.seed


def seed() -> int:
    """Return the seed of nets built now: a random one unless it was set."""
    return random.getrandbits(31) if _Mode.seed is None else _Mode.seed
