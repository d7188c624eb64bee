"""Who makes the batches of `Batches`: threads of this process, or worker processes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from scratchdet_caffe.data.making import Made, Plan, RecordMaker
from scratchdet_caffe.data.processes import Processes
from scratchdet_caffe.data.transform import Floats
from scratchdet_caffe.errors import UserError

BATCHES_AHEAD = 3


class Started(NamedTuple):
    """A batch under way.

    Attributes:
        shape: Of its pictures (N, C, H, W).
        finish: Waits for it; returns the pictures, and what was made of each record.
        drop: Gives it up.
    """

    shape: tuple[int, ...]
    finish: Callable[[], tuple[Floats, list[Made]]]
    drop: Callable[[], None]


def _holders(arrays: list[Floats], index: int) -> int:
    return sys.getrefcount(arrays[index])


# What the interpreter counts for an array that only its list holds.
_UNSHARED = _holders([np.empty(0, np.float32)], 0)


class InThreads:
    """Makes batches in threads of this process; 0 makes each when it is asked for.

    OpenCV leaves Python's lock while it works, so threads do scale, up to a point.
    """

    def __init__(self, maker: RecordMaker, threads: int) -> None:
        self._maker = maker
        self._pool = ThreadPoolExecutor(threads, "batches") if threads else None
        self.ahead = BATCHES_AHEAD if threads else 1
        self._made: list[Floats] = []

    def start(self, taken: range, shape: tuple[int, ...]) -> Started:
        """Begin the batch of the records at positions ``taken``."""
        data = self._buffer(shape)
        futures = [self._submit(place, out) for place, out in zip(taken, data)]

        def drop() -> None:
            for future in futures:
                future.cancel()

        return Started(shape, lambda: (data, [future.result() for future in futures]), drop)

    def close(self) -> None:
        """Stop the threads."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def _buffer(self, shape: tuple[int, ...]) -> Floats:
        """Return memory for a batch, that of an earlier one which nobody holds any more.

        Fresh memory for every batch costs a page fault per 4 KiB, as much as the decoding.
        """
        for index in range(len(self._made)):
            free = _holders(self._made, index) == _UNSHARED
            if free and self._made[index].shape == shape:
                return self._made[index][:]
        # Who keeps many batches keeps their memory, not this list.
        self._made = [*self._made[-BATCHES_AHEAD:], np.empty(shape, np.float32)]
        return self._made[-1][:]

    def _submit(self, place: int, out: Floats) -> Future[Made]:
        if self._pool:
            return self._pool.submit(self._maker.make, place, out)
        done: Future[Made] = Future()
        try:
            done.set_result(self._maker.make(place, out))
        except UserError as error:
            done.set_exception(error)
        return done


class InProcesses:
    """Makes batches in worker processes, which share the memory of the batches."""

    def __init__(self, plan: Plan, workers: int, shape: tuple[int, ...]) -> None:
        self.ahead = BATCHES_AHEAD
        # One in the hands of the net, one that it has just let go.
        self._processes = Processes(plan, workers, shape, self.ahead + 2)
        self._busy: set[int] = set()

    def start(self, taken: range, shape: tuple[int, ...]) -> Started:
        """Begin the batch of the records at positions ``taken``."""
        batch = self._free()[0]
        self._busy.add(batch)
        jobs = self._processes.start(batch, taken)

        def finish() -> tuple[Floats, list[Made]]:
            made = self._processes.wait(jobs)
            data = self._processes.batches[batch].reshape(shape)
            self._busy.remove(batch)
            # Who keeps many batches gets them in memory of their own.
            return data if len(self._free()) > 0 else data.copy(), made

        def drop() -> None:
            self._processes.drop(jobs)
            self._busy.remove(batch)

        return Started(shape, finish, drop)

    def close(self) -> None:
        """End the workers."""
        self._processes.close()

    def _free(self) -> list[int]:
        batches = self._processes.batches
        return [
            index
            for index in range(len(batches))
            if index not in self._busy and _holders(batches, index) == _UNSHARED
        ]
