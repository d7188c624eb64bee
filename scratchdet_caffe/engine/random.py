"""Randomness is owned: one seed, one generator per purpose."""

from __future__ import annotations

import hashlib

import torch


def derived_seed(seed: int, *purpose: object) -> int:
    """Return a 63-bit seed that depends on ``seed`` and on every part of ``purpose``."""
    text = "\0".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *purpose: object) -> torch.Generator:
    """Return a CPU generator of its own for ``purpose``, e.g. ("init", layer, index)."""
    return torch.Generator().manual_seed(derived_seed(seed, *purpose))
