"""`Batches`: the batches of an AnnotatedData layer, made ahead of time by threads.

Records come in the order of the LMDB and around again, as in Caffe. What happens to a record
depends on (seed, epoch, index) alone, so neither the number of threads nor a resume changes a
bit of any batch. OpenCV leaves Python's lock while it works, so threads do scale.
"""

from __future__ import annotations

import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple

import cv2
import numpy as np

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.data.database import Database
from scratchdet_caffe.data.order import ALONE, Shard, checked, places
from scratchdet_caffe.data.transform import LABEL_COLUMNS, Floats, Transformer
from scratchdet_caffe.errors import UserError

BATCHES_AHEAD = 3


def record_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the generator of one record's augmentation, a function of its arguments alone."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch, index))))


class _Buffers:
    """Batch arrays that go round again once nobody outside holds them or a view of them.

    Fresh memory for every batch costs a page fault per 4 KiB, as much as decoding the pictures.
    """

    def __init__(self) -> None:
        self._made: list[Floats] = []
        # What the interpreter counts for an array that only its list holds.
        self._unshared = _holders([np.empty(0, np.float32)], 0)

    def take(self, shape: tuple[int, ...]) -> Floats:
        for index in range(len(self._made)):
            free = _holders(self._made, index) == self._unshared
            if free and self._made[index].shape == shape:
                return self._made[index][:]
        # Who keeps many batches keeps their memory, not this list.
        self._made = [*self._made[-BATCHES_AHEAD:], np.empty(shape, np.float32)]
        return self._made[-1][:]


def _holders(arrays: list[Floats], index: int) -> int:
    return sys.getrefcount(arrays[index])


class _Started(NamedTuple):
    data: Floats
    rows: list[Future[Floats]]


class Batches:
    """Batches of an AnnotatedData layer.

    Args:
        layer: Names the LMDB (``data_param.source``), batch_size and the transform.
        phase: ``pb.TRAIN`` or ``pb.TEST``.
        seed: Of all random choices.
        position: Records consumed before the first batch, over all epochs and processes.
        threads: Workers; 0 makes each batch when it is asked for.
        shard: Rank and number of the processes that share the records; see `places`.

    Attributes:
        data_shape: ``(N, C, H, W)`` of the next batch. It can only change from batch to
            batch without a fixed resize.
        position: Records consumed by the batches handed out so far, by all processes together.

    Raises:
        UserError: No LMDB, no batch_size, or settings that `Transformer` refuses.
    """

    def __init__(
        self,
        layer: pb.LayerParameter,
        phase: int,
        seed: int,
        position: int = 0,
        threads: int = 2,
        shard: Shard = ALONE,
    ) -> None:
        where = f"layer '{layer.name}'"
        if not layer.data_param.source:
            raise UserError(f"{where}: data_param.source must name an LMDB folder")
        if not layer.data_param.batch_size:
            raise UserError(f"{where}: data_param.batch_size must be above 0")
        resize = layer.transform_param.resize_param
        if resize.resize_mode == resize.FIT_SMALL_SIZE and layer.data_param.batch_size > 1:
            raise UserError(f"{where}: FIT_SMALL_SIZE gives each picture its size: batch_size: 1")
        self._batch_size, self._seed = layer.data_param.batch_size, seed
        self._shard = checked(shard)
        self._transformer = Transformer(layer, phase)
        self._database = Database(layer.data_param.source)
        # The workers are the parallelism; OpenCV's own threads would fight them for cores.
        cv2.setNumThreads(1)
        self._pool = ThreadPoolExecutor(threads, "batches") if threads else None
        self._started: deque[_Started] = deque()
        self._buffers = _Buffers()
        self.position = position

    @property
    def data_shape(self) -> tuple[int, int, int, int]:
        if self._started:
            return self._started[0].data.shape
        return self._shape_at(places(self.position, 1, self._shard)[0])

    @property
    def _step(self) -> int:
        """Records that a batch of every process takes."""
        return self._batch_size * self._shard[1]

    @property
    def records(self) -> int:
        """Records in the LMDB, the length of an epoch."""
        return len(self._database)

    def next(self) -> tuple[Floats, Floats]:
        """Return the next batch: data ``(N, C, H, W)`` and label ``(1, 1, M, 8)``.

        The M label rows are ordered by item, then group: item, label, instance_id, xmin, ymin,
        xmax, ymax (normalised), difficult. Only if the whole batch has no box there is one
        row, all -1.

        Raises:
            UserError: A record is corrupt or does not fit, naming its key.
        """
        ahead = BATCHES_AHEAD if self._pool else 1
        while len(self._started) < ahead:
            self._start(self.position + len(self._started) * self._step)
        started = self._started[0]
        labels = []
        for item, future in enumerate(started.rows):
            rows = future.result()
            rows[:, 0] = item
            labels.append(rows)
        self._started.popleft()
        self.position += self._step
        label = np.concatenate(labels)
        if not len(label):
            label = np.full((1, LABEL_COLUMNS), -1, np.float32)
        return started.data, label[None, None]

    def seek(self, position: int) -> None:
        """Go to ``position``: the number of records consumed before the next batch."""
        self._drop()
        self.position = position

    def close(self) -> None:
        """Stop the workers; batches made ahead are dropped."""
        self._drop()
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

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
        for started in self._started:
            for future in started.rows:
                future.cancel()
        self._started.clear()

    def _start(self, position: int) -> None:
        taken = places(position, self._batch_size, self._shard)
        data = self._buffers.take(self._shape_at(taken[0]))
        rows = [self._submit(place, out) for place, out in zip(taken, data)]
        self._started.append(_Started(data, rows))

    def _shape_at(self, position: int) -> tuple[int, int, int, int]:
        index = position % len(self._database)
        try:
            shape = self._transformer.shape_of(self._database.record(index))
        except UserError as error:
            raise self._located(index, error) from error
        return (self._batch_size, *shape)

    def _submit(self, position: int, out: Floats) -> Future[Floats]:
        if self._pool:
            return self._pool.submit(self._make, position, out)
        done: Future[Floats] = Future()
        done.set_result(self._make(position, out))
        return done

    def _make(self, position: int, out: Floats) -> Floats:
        epoch, index = divmod(position, len(self._database))
        record = self._database.record(index)
        try:
            return self._transformer(record, record_generator(self._seed, epoch, index), out)[1]
        except (UserError, cv2.error) as error:
            raise self._located(index, error) from error

    def _located(self, index: int, error: Exception) -> UserError:
        key = self._database.key(index)
        return UserError(f"{self._database.path}: record '{key}': {error}")
