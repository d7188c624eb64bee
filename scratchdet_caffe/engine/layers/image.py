"""Layers that read pictures with one label each."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.layers.base import Context, Tops, layer
from scratchdet_caffe.engine.layers.data import Source
from scratchdet_caffe.engine.loading import loading
from scratchdet_caffe.engine.random import derived_seed
from scratchdet_caffe.engine.shapes.registry import Spec
from scratchdet_caffe.errors import UserError

if TYPE_CHECKING:
    from scratchdet_caffe.data.labelled import LabelledBatches


class Pictures(Source):
    """Pictures ``(N, C, H, W)`` and their labels ``(N,)``; the next batch is made meanwhile."""

    batch_size: int

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: Context) -> None:
        super().__init__(param, spec, context)
        self.position = 0
        try:
            self._batches = self._opened()
            data, label = self._batches.batch(self._seed, 0, context.shard)
        except UserError as error:
            raise self.error(str(error)) from error
        self.top_shapes = (data.shape, label.shape)
        self._pool = ThreadPoolExecutor(1, "pictures")
        self._next: tuple[tuple[int, int], Future[Tops]] | None = None

    @property
    def per_pass(self) -> int:
        """Records of a batch, in all processes."""
        return self.batch_size * self.context.shard[1]

    @property
    def _seed(self) -> int:
        return derived_seed(self.context.seed, "data", self.param.name, self.context.phase)

    def _opened(self) -> LabelledBatches:
        """Open the files that the layer names."""
        raise NotImplementedError

    def forward(self, *bottoms: Tensor) -> Tops:
        began, coming = time.perf_counter(), self._start()
        try:
            tops = coming.result()
        except UserError as error:
            raise self.error(str(error)) from error
        self.waited += time.perf_counter() - began
        self.skipped = self._batches.skipped
        self.position += self.per_pass
        self._start()
        return tops

    def _start(self) -> Future[Tops]:
        """Have the batch at `position` made, unless it is under way."""
        asked = (self._seed, self.position)
        if self._next is None or self._next[0] != asked:
            self._next = (asked, self._pool.submit(self._make, *asked))
        return self._next[1]

    def _make(self, seed: int, position: int) -> Tops:
        data, label = self._batches.batch(seed, position, self.context.shard)
        return torch.from_numpy(data), torch.from_numpy(label)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


@layer("Data")
class Data(Pictures):
    """Caffe's Data: an LMDB of Datum, in the order of its keys and around again."""

    def _opened(self) -> LabelledBatches:
        from scratchdet_caffe.data.labelled import DatumRecords, LabelledBatches

        p = self.param.data_param
        self.batch_size = p.batch_size
        records = DatumRecords(p.source)
        phase = self.context.phase
        how = loading().on_bad
        return LabelledBatches(
            self.param, phase, records, p.batch_size, rand_skip=p.rand_skip, on_bad=how
        )


@layer("ImageData")
class ImageData(Pictures):
    """Caffe's ImageData: picture files that a list names; `shuffle` orders every epoch anew."""

    def _opened(self) -> LabelledBatches:
        from scratchdet_caffe.data.labelled import LabelledBatches, ListedPictures

        p = self.param.image_data_param
        self.batch_size = p.batch_size
        asked = pb.LayerParameter()
        asked.CopyFrom(self.param)
        transform = asked.transform_param
        transform.force_color, transform.force_gray = p.is_color, not p.is_color
        if p.new_height:
            transform.resize_param.height, transform.resize_param.width = p.new_height, p.new_width
        records = ListedPictures(p.source, p.root_folder)
        phase = self.context.phase
        return LabelledBatches(
            asked, phase, records, p.batch_size, p.shuffle, p.rand_skip, loading().on_bad
        )
