"""`Batches`: the batches of an AnnotatedData layer, made ahead of time.

Records come in the order of their source and around again, as in Caffe. What happens to a
record depends on (seed, epoch, index) alone, so neither the number of threads or processes nor
a resume changes a bit of any batch.
"""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType

import numpy as np

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.data.backends import InProcesses, InThreads, Started
from scratchdet_caffe.data.making import Plan, RecordMaker
from scratchdet_caffe.data.order import ALONE, Shard, checked, places
from scratchdet_caffe.data.skipping import STOP, Tally, checked_policy
from scratchdet_caffe.data.sources import open_records
from scratchdet_caffe.data.transform import LABEL_COLUMNS, Floats
from scratchdet_caffe.errors import UserError


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
