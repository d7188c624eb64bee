"""`Batches`: the batches of an AnnotatedData layer, made ahead of time.

Records come in the order of their source and around again, as in Caffe. What happens to a
record depends on (seed, epoch, index) alone, so neither the number of threads or processes nor
a resume changes a bit of any batch.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple

import numpy as np

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.data.making import Made, Plan, RecordMaker
from scratchdet_caffe.data.order import ALONE, Shard, checked, places
from scratchdet_caffe.data.processes import Processes
from scratchdet_caffe.data.skipping import STOP, Tally, checked_policy
from scratchdet_caffe.data.sources import open_records
from scratchdet_caffe.data.transform import LABEL_COLUMNS, Floats
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


class Batches:
    """Batches of an AnnotatedData layer.

    Args:
        layer: Names the source (``data_param.source``, see `open_records`), batch_size and the
            transform.
        phase: ``pb.TRAIN`` or ``pb.TEST``.
        seed: Of all random choices.
        position: Records consumed before the first batch, over all epochs and processes.
        threads: How many make the records; 0 makes each batch when it is asked for.
        shard: Rank and number of the processes that share the records; see `places`.
        workers: Processes that make the records, instead of threads. Pictures that come out in
            different sizes need threads.
        on_bad: What to do about a corrupt record, and one that ends its worker: ``"stop"``, or
            ``"skip"``, take the next good one, and count.

    Attributes:
        position: Records consumed by the batches handed out so far, by all processes together.
        waited: Seconds spent in `next` for batches that were not ready.

    Raises:
        UserError: No source, no batch_size, or settings that `Transformer` refuses.
    """

    def __init__(
        self,
        layer: pb.LayerParameter,
        phase: int,
        seed: int,
        position: int = 0,
        threads: int = 2,
        shard: Shard = ALONE,
        workers: int = 0,
        on_bad: str = STOP,
    ) -> None:
        where = f"layer '{layer.name}'"
        if not layer.data_param.source:
            raise UserError(f"{where}: data_param.source must name an LMDB folder")
        if not layer.data_param.batch_size:
            raise UserError(f"{where}: data_param.batch_size must be above 0")
        resize = layer.transform_param.resize_param
        if resize.resize_mode == resize.FIT_SMALL_SIZE and layer.data_param.batch_size > 1:
            raise UserError(f"{where}: FIT_SMALL_SIZE gives each picture its size: batch_size: 1")
        self._batch_size, self._shard = layer.data_param.batch_size, checked(shard)
        self._threads, self._workers = threads, workers
        source = open_records(layer, phase)
        policy = checked_policy(on_bad)
        self._maker = RecordMaker(Plan(layer.SerializeToString(), source, phase, seed, policy))
        self._backend: InThreads | InProcesses | None = None
        self._started: deque[Started] = deque()
        self.position = position
        self.waited, self._bad = 0.0, Tally()

    @property
    def data_shape(self) -> tuple[int, int, int, int]:
        """``(N, C, H, W)`` of the next batch; it only changes without a fixed resize."""
        first = places(self.position, 1, self._shard)[0]
        return (self._batch_size, *self._maker.shape_at(first))

    @property
    def label_shape(self) -> tuple[int, int, int, int]:
        """Of the labels: ``(1, 1, M, 8)``, where 1 stands for M, or ``(N, 1, 1, 1)``."""
        return (1, 1, 1, LABEL_COLUMNS) if self._maker.boxed else (self._batch_size, 1, 1, 1)

    @property
    def records(self) -> int:
        """Records in the source, the length of an epoch."""
        return len(self._maker.source)

    @property
    def skipped(self) -> int:
        """Bad records passed over so far."""
        return self._bad.count

    @property
    def step(self) -> int:
        """Records that a batch of every process takes."""
        return self._batch_size * self._shard[1]

    def next(self) -> tuple[Floats, Floats]:
        """Return the next batch: data ``(N, C, H, W)`` and label ``(1, 1, M, 8)``.

        The M label rows are ordered by item, then group: item, label, instance_id, xmin, ymin,
        xmax, ymax (normalised), difficult. Only if the whole batch has no box there is one
        row, all -1. Records without annotations of any kind give label ``(N, 1, 1, 1)``.

        Raises:
            UserError: A record is corrupt or does not fit, naming its key; or a worker died.
        """
        began = time.perf_counter()
        self._start()
        data, made = self._started[0].finish()
        self._started.popleft()
        self.waited += time.perf_counter() - began
        self.position += self.step
        for item, one in enumerate(made):
            self._bad.add(one.skipped)
            one.rows[:, 0] = item
        label = np.concatenate([one.rows for one in made])
        if not self._maker.boxed:
            return data, label[:, 1].reshape(self.label_shape)
        if not len(label):
            label = np.full((1, LABEL_COLUMNS), -1, np.float32)
        return data, label[None, None]

    def coming(self) -> list[str]:
        """Return the keys of the records of the next batch."""
        source = self._maker.source
        taken = places(self.position, self._batch_size, self._shard)
        return [source.key(place % len(source)) for place in taken]

    def seek(self, position: int) -> None:
        """Go to ``position``: the number of records consumed before the next batch."""
        self._drop()
        self.position = position

    def close(self) -> None:
        """Stop threads and workers; batches made ahead are dropped."""
        self._started.clear()
        if self._backend is not None:
            self._backend.close()

    def __enter__(self) -> Batches:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _drop(self) -> None:
        while self._started:
            self._started.popleft().drop()

    def _start(self) -> None:
        """Have as many batches under way as are made ahead."""
        if self._backend is None:
            fixed = self._maker.fixed_shape
            if self._workers and fixed:
                shape = (self._batch_size, *fixed)
                self._backend = InProcesses(self._maker.plan, self._workers, shape)
            else:
                self._backend = InThreads(self._maker, self._threads)
        while len(self._started) < self._backend.ahead:
            position = self.position + len(self._started) * self.step
            taken = places(position, self._batch_size, self._shard)
            shape = (self._batch_size, *self._maker.shape_at(taken[0]))
            self._started.append(self._backend.start(taken, shape))
