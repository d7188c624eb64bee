"""What `Processes` and its workers tell each other, and the memory that they share.

At its front stands the position that each worker is at; the batches follow.
"""

from __future__ import annotations

import mmap
from typing import NamedTuple

import numpy as np

from scratchdet_caffe.data.making import Made
from scratchdet_caffe.data.transform import Floats

IDLE = -1  # instead of the position at work


class Job(NamedTuple):
    """A run of records of a batch.

    Attributes:
        number: Of the job, counting up.
        offset: Bytes into the shared memory where the first picture goes; the others follow.
        shape: Of a picture (C, H, W).
        places: Positions of the records.
        spoilt: Those of them that have ended a worker.
    """

    number: int
    offset: int
    shape: tuple[int, int, int]
    places: range
    spoilt: frozenset[int]


class Done(NamedTuple):
    """The answer to a job: what was made of each record, or the sentence that stops the run."""

    number: int
    made: list[Made]
    error: str | None


def picture_at(memory: mmap.mmap, offset: int, shape: tuple[int, ...]) -> Floats:
    """Return the picture at ``offset`` of the shared memory as an array, without a copy."""
    count = int(np.prod(shape))
    return np.frombuffer(memory, np.float32, count, offset).reshape(shape)


def progress_of(memory: mmap.mmap, workers: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the position that each worker is at, at the front of the shared memory."""
    return np.frombuffer(memory, np.int64, workers)
