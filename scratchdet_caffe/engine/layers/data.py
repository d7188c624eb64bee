"""Layers that bring data into the net."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scratchdet_caffe import glog
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.layers.base import Context, Drawing, Layer, Tops, layer
from scratchdet_caffe.engine.loading import loading
from scratchdet_caffe.engine.random import derived_seed
from scratchdet_caffe.engine.shapes.registry import Shape, Spec

if TYPE_CHECKING:
    from scratchdet_caffe.data import Batches


@layer("Input")
class Input(Layer):
    """Tops that the caller provides; the net puts them in place."""

    def forward(self, *bottoms: Tensor) -> Tops:
        raise self.error("its blobs are the caller's: pass them to the net")


class Source(Drawing):
    """A layer that makes batches by itself; its `position` counts records handed out."""

    #: Shapes of the tops, where only the data can tell.
    top_shapes: tuple[Shape, ...]
    #: Seconds spent waiting for records so far.
    waited = 0.0
    #: Bad records passed over so far.
    skipped = 0
    _noted: tuple[float, float] | None = None

    def note(self) -> str:
        """Return how long the net has waited for records since the last call, and of how long."""
        before, now = self._noted, time.perf_counter()
        self._noted = (self.waited, now)
        if before is None or not self.waited:
            return ""
        waited, since = self.waited - before[0], now - before[1]
        return glog.data_wait(self.param.name, waited, since, self.skipped)

    def coming(self) -> list[str]:
        """Return how errors name the records of the next batch; by number if they have no name."""
        from scratchdet_caffe.data.order import places

        batch = self.top_shapes[0][0]
        return [f"record {place}" for place in places(self.position, batch, self.context.shard)]

    def close(self) -> None:
        """Stop background work and let go of files."""


@layer("AnnotatedData")
class AnnotatedData(Source):
    """SSD's images with boxes, from an LMDB of AnnotatedDatum, augmented in TRAIN."""

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: Context) -> None:
        super().__init__(param, spec, context)
        self.batches = self._batches(context.seed, 0)
        self.top_shapes = (self.batches.data_shape, self.batches.label_shape)

    def _batches(self, seed: int, position: int) -> Batches:
        from scratchdet_caffe.data import Batches  # the only place where the engine needs it

        own = derived_seed(seed, "data", self.param.name, self.context.phase)
        how = loading()
        return Batches(
            self.param,
            self.context.phase,
            own,
            position,
            how.threads,
            self.context.shard,
            how.workers,
            how.on_bad,
        )

    def coming(self) -> list[str]:
        return self.batches.coming()

    def reseed(self, seed: int) -> None:
        position = self.position
        self.close()
        self.batches = self._batches(seed, position)

    @property
    def per_pass(self) -> int:
        """Records of a batch, in all processes."""
        return self.param.data_param.batch_size * self.context.shard[1]

    @property
    def position(self) -> int:
        """Records handed out so far, in all processes."""
        return self.batches.position

    @position.setter
    def position(self, records: int) -> None:
        self.batches.seek(records)

    def forward(self, *bottoms: Tensor) -> Tops:
        data, label = self.batches.next()
        self.waited, self.skipped = self.batches.waited, self.batches.skipped
        return torch.from_numpy(data), torch.from_numpy(label)

    def close(self) -> None:
        self.batches.close()
