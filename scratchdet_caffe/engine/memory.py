"""What fits into memory: refused before it is asked for, and told in a sentence when it fails."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.errors import LayerError
from scratchdet_caffe.engine.shapes.registry import Shape

_GIB = 1 << 30
_LIMIT_OF_A_CONTAINER = Path("/sys/fs/cgroup/memory.max")


@functools.cache
def physical_memory() -> int:
    """Return the bytes of memory of this machine, or of the container that this process is in."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(total, int(_LIMIT_OF_A_CONTAINER.read_text()))
    except (OSError, ValueError):  # no container, or one without a limit
        return total


def too_much(shapes: Iterable[Shape]) -> str:
    """Say why float32 blobs of ``shapes`` cannot all be held; an empty text if they can."""
    needed = 4 * sum(math.prod(shape) for shape in shapes)
    if needed <= physical_memory():
        return ""
    return f"{needed / _GIB:.1f} GiB, but there are {physical_memory() / _GIB:.1f} GiB"


@contextmanager
def memory_told(layer: pb.LayerParameter) -> Iterator[None]:
    """Turn torch's error when it gets no memory into one that names ``layer``."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        raise_if_out_of_memory(error, layer)
        raise


def raise_if_out_of_memory(error: Exception, layer: pb.LayerParameter) -> None:
    """Raise a `LayerError` of ``layer`` if ``error`` says that there was no memory."""
    kinds = (torch.OutOfMemoryError, MemoryError)
    if isinstance(error, kinds) or "can't allocate memory" in str(error):
        raise LayerError(layer, "got no memory for its blobs: try smaller ones") from error
