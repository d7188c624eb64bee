"""The layer that serves arrays from memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.layers.base import Context, Tops, layer
from scratchdet_caffe.engine.layers.data import Source
from scratchdet_caffe.engine.shapes.registry import Spec


@layer("MemoryData")
class MemoryData(Source):
    """Caffe's MemoryData: batches of arrays that the program sets, around and around.

    As in Caffe, `transform_param` does not touch them.
    """

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: Context) -> None:
        super().__init__(param, spec, context)
        self.top_shapes = spec.tops
        self.position = 0
        self._arrays: tuple[Tensor, Tensor] | None = None

    @property
    def per_pass(self) -> int:
        """Records of a batch."""
        return self.param.memory_data_param.batch_size

    def set_arrays(self, data: npt.ArrayLike, labels: npt.ArrayLike) -> None:
        """Serve ``data (R, C, H, W)`` and ``labels (R,)`` or ``(R, 1, 1, 1)`` from now on.

        Raises:
            LayerError: The shapes do not fit the layer or each other, or the batch size does
                not divide R.
        """
        pictures, marks = (np.array(given, np.float32) for given in (data, labels))
        wanted = self.top_shapes[0][1:]
        if pictures.ndim != 4 or pictures.shape[1:] != wanted:
            raise self.error(f"takes data of shape (R, *{wanted}), not {pictures.shape}")
        count = len(pictures)
        if marks.shape not in ((count,), (count, 1, 1, 1)):
            raise self.error(f"takes labels of shape ({count},), one each, not {marks.shape}")
        if not count or count % self.per_pass:
            raise self.error(f"takes a multiple of batch_size, {self.per_pass}, not {count} rows")
        self._arrays = torch.from_numpy(pictures), torch.from_numpy(marks.reshape(-1))
        self.position = 0

    def forward(self, *bottoms: Tensor) -> Tops:
        if self._arrays is None:
            raise self.error("has no arrays yet: give it some with set_input_arrays")
        count = len(self._arrays[0])
        places = torch.arange(self.position, self.position + self.per_pass) % count
        self.position += self.per_pass
        return tuple(array[places] for array in self._arrays)
