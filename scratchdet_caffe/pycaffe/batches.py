"""Any number of samples, cut into batches of a net's size and put together again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.pycaffe.blob import Array


def batches(arrays: Mapping[str, tuple[Array, int]]) -> Iterator[dict[str, Any]]:
    """Cut arrays into batches; the last one is filled up with zeros.

    Args:
        arrays: By name, an array (samples, ...) and the size of its batches.

    Raises:
        UserError: The arrays differ in samples, or the batches in size.
    """
    counts = {name: len(array) for name, (array, _) in arrays.items()}
    sizes = {name: size for name, (_, size) in arrays.items()}
    if len(set(counts.values())) > 1:
        raise UserError(f"the arrays must hold equally many samples, but hold {counts}")
    if len(set(sizes.values())) > 1:
        raise UserError(f"the blobs must have one batch size, but have {sizes}")
    count, size = next(iter(counts.values())), next(iter(sizes.values()))
    for begin in range(0, count, size):
        batch = {name: array[begin : begin + size] for name, (array, _) in arrays.items()}
        missing = begin + size - count
        if missing > 0:
            batch = {
                name: np.concatenate([part, np.zeros((missing, *part.shape[1:]), part.dtype)])
                for name, part in batch.items()
            }
        yield batch


def collect(parts: Sequence[Mapping[str, Array]], count: int) -> dict[str, Array]:
    """Put the results of batches together: the first ``count`` rows, or values of each batch."""
    names = parts[0] if parts else {}
    return {
        name: np.concatenate([np.atleast_1d(part[name]) for part in parts])[:count]
        for name in names
    }
