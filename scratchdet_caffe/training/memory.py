"""Running out of memory, on the CPU or on a GPU, told in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from scratchdet_caffe.errors import UserError

#: What torch, CUDA, cuDNN and C++ say; none of them has a class of error for it everywhere.
_SAID = ("out of memory", "allocate memory", "not enough memory", "ALLOC_FAILED", "bad_alloc")


@contextmanager
def memory_errors_told(when: str) -> Iterator[None]:
    """Turn the errors of a computer that is out of memory into a `UserError` that says ``when``."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or any(word in str(error) for word in _SAID)):
            raise
        where = "of the GPU" if "CUDA" in str(error) or "CUDNN" in str(error) else "of the computer"
        raise UserError(
            f"out of memory {when} (that {where}): give a smaller batch_size, which a larger "
            "iter_size makes up for, or a smaller input or net"
        ) from error
