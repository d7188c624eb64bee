"""Layers that read and write HDF5 files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.layers.base import Context, Layer, Tops, layer
from scratchdet_caffe.engine.layers.data import Source
from scratchdet_caffe.engine.random import derived_seed
from scratchdet_caffe.engine.shapes.registry import Spec
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_text, written_aside

Arrays = list[npt.NDArray[np.float32]]


@layer("HDF5Data")
class HDF5Data(Source):
    """Caffe's HDF5Data: rows of the datasets named like its tops, file after file, and around.

    `shuffle` orders the files, and the rows of each, anew for every epoch. One file at a time is
    held in memory.
    """

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: Context) -> None:
        super().__init__(param, spec, context)
        self.position = 0
        self._files = self._listed(param.hdf5_data_param.source)
        shapes = [self._row_shapes(path) for path in self._files]
        for path, (_, rows) in zip(self._files, shapes):
            if rows != shapes[0][1]:
                raise self.error(f"{path}: rows of shapes {rows}, {shapes[0][1]} in the first file")
        self._counts = [count for count, _ in shapes]
        batch = param.hdf5_data_param.batch_size
        self.top_shapes = tuple((batch, *row) for row in shapes[0][1])
        self._loaded: tuple[int, Arrays] | None = None
        self._ordered: tuple[tuple[int, int], npt.NDArray[np.int64]] | None = None

    @property
    def per_pass(self) -> int:
        """Rows of a batch, in all processes."""
        return self.param.hdf5_data_param.batch_size * self.context.shard[1]

    def forward(self, *bottoms: Tensor) -> Tops:
        from scratchdet_caffe.data.order import places

        tops = [torch.empty(shape) for shape in self.top_shapes]
        count = self.param.hdf5_data_param.batch_size
        for i, place in enumerate(places(self.position, count, self.context.shard)):
            epoch, index = divmod(place, sum(self._counts))
            file, row = self._order(epoch)[index].tolist()
            for top, array in zip(tops, self._arrays(file)):
                top[i] = torch.as_tensor(array[row])
        self.position += self.per_pass
        return tuple(tops)

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        """The rows of ``epoch`` as pairs (file, row), ``(R, 2)``."""
        asked = (self.context.seed, epoch)
        if self._ordered is None or self._ordered[0] != asked:
            p, files = self.param, np.arange(len(self._counts))
            rows = [np.arange(count) for count in self._counts]
            if p.hdf5_data_param.shuffle:
                seed = derived_seed(self.context.seed, "data", p.name, self.context.phase, epoch)
                random = np.random.default_rng(seed)
                files, rows = random.permutation(files), [random.permutation(r) for r in rows]
            pairs = [np.stack([np.full_like(rows[i], i), rows[i]], 1) for i in files]
            self._ordered = (asked, np.concatenate(pairs))
        return self._ordered[1]

    def _listed(self, source: str) -> list[str]:
        try:
            paths = [line.strip() for line in read_text(source, "list of files").splitlines()]
        except UserError as error:
            raise self.error(str(error)) from error
        paths = [path for path in paths if path]
        if not paths:
            raise self.error(f"{source}: this list names no file")
        return paths

    def _row_shapes(self, path: str) -> tuple[int, list[tuple[int, ...]]]:
        """How many rows the file at ``path`` has, and the shape of a row for each top."""
        shapes = self._read(path, lambda dataset: tuple(dataset.shape))
        counts = {shape[0] for shape in shapes}
        if len(counts) > 1 or 0 in counts:
            raise self.error(f"{path}: its datasets need equally many rows, at least 1: {shapes}")
        return counts.pop(), [shape[1:] for shape in shapes]

    def _arrays(self, file: int) -> Arrays:
        if self._loaded is None or self._loaded[0] != file:
            path = self._files[file]
            arrays = self._read(path, lambda dataset: np.asarray(dataset[()], np.float32))
            self._loaded = (file, arrays)
        return self._loaded[1]

    def _read(self, path: str, what: Any) -> list[Any]:
        """Apply ``what`` to the datasets of the file at ``path``, in the order of the tops."""
        import h5py

        if not Path(path).is_file():
            raise self.error(f"{path}: no such file (paths count from the current folder)")
        found = []
        try:
            with h5py.File(path, "r") as file:
                for top in self.param.top:
                    dataset = file.get(top)
                    if not isinstance(dataset, h5py.Dataset):
                        raise self.error(f"{path}: has no dataset '{top}', only {sorted(file)}")
                    if dataset.dtype.kind not in "fiu" or not dataset.shape:
                        raise self.error(f"{path}: '{top}' holds no rows of numbers")
                    found.append(what(dataset))
        except (OSError, RuntimeError, ValueError, MemoryError) as error:
            raise self.error(f"{path}: not a complete HDF5 file: {error}") from error
        return found


@layer("HDF5Output")
class HDF5Output(Layer):
    """Caffe's HDF5Output: writes its bottoms as the datasets ``data`` and ``label``.

    As in Caffe both get four axes, and a file that was there is replaced. Caffe fails on the
    second pass; here its rows come after those of the first.
    """

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: Context) -> None:
        super().__init__(param, spec, context)
        self._begun = False

    def forward(self, *bottoms: Tensor) -> Tops:
        data, label = (_four_axes(bottom.detach().cpu()) for bottom in bottoms)
        if len(data) != len(label):
            raise self.error(f"takes equally many rows, not {len(data)} and {len(label)}")
        path = self.param.hdf5_output_param.file_name
        try:
            if self._begun:
                _append(path, data=data, label=label)
            else:
                _begin(path, data=data, label=label)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise self.error(f"{path}: cannot write it: {error}") from error
        except UserError as error:
            raise self.error(str(error)) from error
        self._begun = True
        return ()


def _four_axes(blob: Tensor) -> npt.NDArray[np.float32]:
    array: npt.NDArray[np.float32] = blob.float().numpy()
    return array.reshape(array.shape + (1,) * (4 - array.ndim))


def _begin(path: str, **arrays: npt.NDArray[np.float32]) -> None:
    import h5py

    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, maxshape=(None, *array.shape[1:]))
    with written_aside(path) as stream:
        stream.write(image.getbuffer())


def _append(path: str, **arrays: npt.NDArray[np.float32]) -> None:
    import h5py

    with h5py.File(path, "r+") as file:
        for name, array in arrays.items():
            dataset = file[name]
            dataset.resize(len(dataset) + len(array), axis=0)
            dataset[-len(array) :] = array
