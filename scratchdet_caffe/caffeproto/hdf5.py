"""HDF5 snapshots: ``.caffemodel.h5`` and ``.solverstate.h5``, as the messages of their twins.

A model holds the float32 dataset ``/data/<layer>/<i>`` per blob, a group even for layers
without blobs, and the same under ``/diff`` if the gradients were asked for. A blob that a layer
shares with an earlier one is left out. A state holds ``iter``, ``current_step`` and so on as
arrays of one number, ``learned_net`` as a C string, and ``/history/<i>``.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto.blobs import array_of, blob_of, blob_shape
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import written_aside

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_NUMBERS = {
    "iter": "int32",
    "current_step": "int32",
    "minimum_loss": "float32",  # this field and the next are the plateau policy's
    "iter_last_event": "int32",
}
_DEFLATE_AT_BEST = 1032
#: What h5py raises on damaged bytes; which of them is chance.
_AMISS = (
    OSError,
    LookupError,
    ValueError,
    TypeError,
    RuntimeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
)


def is_hdf5(data: bytes) -> bool:
    """Tell whether ``data`` are the bytes of an HDF5 file."""
    return data.startswith(_SIGNATURE)


def parse_model(data: bytes, source: str) -> pb.NetParameter:
    """Return the layers of a ``.caffemodel.h5``: names and blobs, all that it holds.

    A blob that the file leaves out before one that it holds is empty here.

    Raises:
        UserError: Not a complete HDF5 file, or one without ``/data``.
    """
    net, reader = pb.NetParameter(), _Reader(len(data))
    with _opened(data, source) as file:
        if "data" not in file:
            raise UserError(f"{source}: an HDF5 file without /data, so it is no .caffemodel.h5")
        layers: dict[str, dict[int, Any]] = {}
        for name, item in _items(file["data"]):
            if hasattr(item, "dtype"):
                layer, _, index = name.rpartition("/")
                layers.setdefault(layer, {})[_index(index)] = reader.array(item)
            else:
                layers.setdefault(name, {})
        # A layer name with a slash makes a group around its own that is no layer.
        around = {name.rpartition("/")[0] for name in layers}
        for name, arrays in layers.items():
            if name in around and not arrays:
                continue
            stored = net.layer.add(name=name)
            for i in range(max(arrays, default=-1) + 1):
                blob = stored.blobs.add()
                if i in arrays:
                    blob.MergeFrom(blob_of(arrays[i]))
    return net


def parse_state(data: bytes, source: str) -> pb.SolverState:
    """Return a ``.solverstate.h5`` as the message that a ``.solverstate`` holds.

    Raises:
        UserError: Not a complete HDF5 file, or one without ``iter`` and ``/history``.
    """
    state, reader = pb.SolverState(), _Reader(len(data))
    with _opened(data, source) as file:
        if "iter" not in file or "history" not in file:
            hint = ": it holds weights" if "data" in file else ""
            raise UserError(f"{source}: not a solver state{hint}")
        for name in _NUMBERS:
            if name in file:
                setattr(state, name, reader.array(file[name]).flat[0].item())
        if "learned_net" in file:
            state.learned_net = reader.text(file["learned_net"])
        history = file["history"]
        for i in range(len(history)):
            if str(i) not in history:
                raise ValueError(f"{len(history)} history blobs, but no /history/{i}")
            state.history.add().MergeFrom(blob_of(reader.array(history[str(i)])))
    return state


def write_model(path: str | os.PathLike[str], net: pb.NetParameter) -> None:
    """Write the blobs of ``net``, and their gradients where they have some; see the module."""
    with _written(path) as file:
        for layer in net.layer:
            for kind in ("data", "diff"):
                if kind == "data" or any(len(blob.diff) for blob in layer.blobs):
                    _add_group(file, kind, layer)


def write_state(path: str | os.PathLike[str], state: pb.SolverState) -> None:
    """Write ``state`` as real Caffe does; see the module."""
    with _written(path) as file:
        for name, kind in _NUMBERS.items():
            file.create_dataset(name, data=np.array([getattr(state, name)], kind))
        _add_c_string(file, "learned_net", state.learned_net)
        history = file.create_group("history")
        for i, blob in enumerate(state.history):
            history.create_dataset(str(i), data=array_of(blob))


def _add_group(file: Any, kind: str, layer: pb.LayerParameter) -> None:
    group = file.require_group(f"{kind}/{layer.name}")
    for i, blob in enumerate(layer.blobs):
        if blob_shape(blob) or len(blob.data):
            group.create_dataset(str(i), data=array_of(blob, diff=kind == "diff"))


def _add_c_string(file: Any, name: str, text: str) -> None:
    """A string with its closing zero inside, which Caffe's reader counts on."""
    from h5py import h5d, h5s, h5t

    value = np.array(text.encode() + b"\0", f"S{len(text.encode()) + 1}")
    kind = h5t.C_S1.copy()
    kind.set_size(value.itemsize)
    kind.set_strpad(h5t.STR_NULLTERM)
    h5d.create(file.id, name.encode(), kind, h5s.create(h5s.SCALAR)).write(
        h5s.ALL, h5s.ALL, value, mtype=kind
    )


@contextmanager
def _opened(data: bytes, source: str) -> Iterator[Any]:
    """Open ``data`` for reading; whatever the library finds amiss becomes a sentence."""
    import h5py  # 0.1 s, and only snapshots in this format need it

    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            yield file
    except _AMISS as error:
        raise UserError(
            f"{source}: not a complete HDF5 snapshot ({len(data)} bytes): {error}"
        ) from error


@contextmanager
def _written(path: str | os.PathLike[str]) -> Iterator[Any]:
    import h5py

    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        yield file
    with written_aside(path) as stream:
        stream.write(image.getbuffer())


def _items(group: Any) -> list[tuple[str, Any]]:
    """All that lies under ``group``; links to elsewhere are not followed, so cycles end."""
    found: list[tuple[str, Any]] = []
    group.visititems(lambda name, item: found.append((name, item)))
    return found


def _index(name: str) -> int:
    if not (name.isdecimal() and len(name) < 5):
        raise ValueError(f"a blob is named '{name}', not by a number")
    return int(name)


class _Reader:
    """Reads the datasets of a file of ``size`` bytes, and no more than such a file can hold."""

    def __init__(self, size: int) -> None:
        self.left = size

    def array(self, dataset: Any) -> Any:
        """Return the numbers of ``dataset``."""
        if dataset.dtype.kind not in "fiu":
            raise ValueError(f"{dataset.name} holds {dataset.dtype}, not numbers")
        return self._held(dataset)[()]

    def text(self, dataset: Any) -> str:
        """Return the string of ``dataset``: of fixed length as Caffe writes it, or of any."""
        return bytes(self._held(dataset)[()]).rstrip(b"\0").decode()

    def _held(self, dataset: Any) -> Any:
        """Return ``dataset`` if what it declares can be there, also beside all that was read."""
        stored = dataset.id.get_storage_size()
        self.left -= stored  # links may lead to one dataset many times
        most = stored * (_DEFLATE_AT_BEST if dataset.compression else 1)
        elsewhere = dataset.is_virtual or dataset.external
        if dataset.nbytes > most or self.left < 0 or elsewhere:
            raise ValueError(
                f"{dataset.name} declares {dataset.shape}, which the file does not hold"
            )
        return dataset
