"""`RecordMaker`: position in, picture and label rows out, wherever that is done.

What happens to a record depends on (seed, epoch, index) alone, so it does not matter which
thread or process makes it, or when.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeVar

import cv2
import numpy as np

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.data.skipping import MOST_IN_A_ROW, STOP, Skipped, first_good
from scratchdet_caffe.data.sources import Records
from scratchdet_caffe.data.transform import Floats, Transformer
from scratchdet_caffe.errors import UserError

T = TypeVar("T")


def record_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the generator of one record's augmentation, a function of its arguments alone."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch, index))))


@dataclass(frozen=True)
class Plan:
    """All that a record depends on beside its position; it can be sent to another process.

    Attributes:
        layer: The AnnotatedData layer, serialised.
        source: Its records.
        phase: ``pb.TRAIN`` or ``pb.TEST``.
        seed: Of all random choices.
        on_bad: What to do about a corrupt record: `STOP`, or `SKIP` and take the next good one.
    """

    layer: bytes
    source: Records
    phase: int
    seed: int
    on_bad: str = STOP


class Made(NamedTuple):
    """What `RecordMaker.make` returns: label rows ``(K, 8)``, item 0, and what was passed over."""

    rows: Floats
    skipped: Skipped


class RecordMaker:
    """Makes the records of a layer.

    Raises:
        UserError: Settings that `Transformer` refuses.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan, self.source = plan, plan.source
        layer = pb.LayerParameter.FromString(plan.layer)
        self._transformer = Transformer(layer, plan.phase)
        self._boxed = layer.annotated_data_param.HasField("anno_type")
        # The callers are the parallelism; OpenCV's own threads would fight them for cores.
        cv2.setNumThreads(1)

    @property
    def fixed_shape(self) -> tuple[int, int, int] | None:
        """The shape (C, H, W) of every picture, None where it depends on the record."""
        return self._transformer.fixed_shape

    @cached_property
    def boxed(self) -> bool:
        """Whether records have boxes; else, as the first tells, one label each (Caffe's rule)."""
        first = self._first_good(0, self.source.record)[0]
        return self._boxed or first.HasField("type")

    def shape_at(self, position: int) -> tuple[int, int, int]:
        """Return the shape (C, H, W) in which the record at ``position`` comes out."""

        def shape(index: int) -> tuple[int, int, int]:
            return self._transformer.shape_of(self.source.record(index))

        return self.fixed_shape or self._first_good(position, shape)[0]

    def make(self, position: int, out: Floats, spoilt: bool = False) -> Made:
        """Make the record at ``position``: its picture goes into ``out (C, H, W)``.

        Args:
            position: Records before it, over all epochs.
            out: Where to write the picture.
            spoilt: Whether the record has ended a process before, and is not to be tried again.

        Raises:
            UserError: The record is corrupt or does not fit, naming its key.
        """
        epoch, first = divmod(position, len(self.source))

        def rows(index: int) -> Floats:
            if spoilt and index == first:
                raise UserError("it ended the process that made it")
            record = self.source.record(index)
            random = record_generator(self.plan.seed, epoch, first)
            found = self._transformer(record, random, out)[1]
            if self.boxed:
                return found
            return np.array([[0, record.datum.label, 0, 0, 0, 0, 0, 0]], np.float32)

        return Made(*self._first_good(position, rows))

    def where(self, position: int) -> str:
        """Return how errors name the record at ``position``."""
        return self.source.where(position % len(self.source))

    def _first_good(self, position: int, attempt: Callable[[int], T]) -> tuple[T, Skipped]:
        """Return what ``attempt`` makes of the record at ``position``, or of the next good one."""
        count = len(self.source)
        indices = [(position + i) % count for i in range(min(MOST_IN_A_ROW, count))]
        return first_good(indices, self.source.where, attempt, self.plan.on_bad)
