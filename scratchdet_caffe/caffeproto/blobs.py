"""BlobProto <-> numpy, without a Python object per number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.unknown_fields import UnknownFieldSet

from scratchdet_caffe.caffeproto import caffe_pb2 as pb

_MESSAGE = type(pb.BlobProto())
_DATA, _DIFF = pb.BlobProto.DATA_FIELD_NUMBER, pb.BlobProto.DIFF_FIELD_NUMBER


def blob_shape(blob: pb.BlobProto) -> tuple[int, ...]:
    """Return the shape of ``blob``, from ``shape`` or from the four dims of old files."""
    if blob.HasField("shape") or not (
        blob.HasField("num")
        or blob.HasField("channels")
        or blob.HasField("height")
        or blob.HasField("width")
    ):
        return tuple(blob.shape.dim)
    return (blob.num, blob.channels, blob.height, blob.width)


def array_of(blob: pb.BlobProto, diff: bool = False) -> npt.NDArray[np.float32]:
    """Return the data (or diff) of ``blob`` as a new float32 array of its shape.

    Raises:
        ValueError: The number of values is not what the shape says.
    """
    wide = blob.double_diff if diff else blob.double_data
    values = np.array(wide if len(wide) else (blob.diff if diff else blob.data), np.float32)
    shape = blob_shape(blob)
    if any(dim < 0 for dim in shape) or values.size != math.prod(shape):
        raise ValueError(f"{values.size} values for shape {shape}{_elsewhere(blob)}")
    return values.reshape(shape)


def _elsewhere(blob: pb.BlobProto) -> str:
    """Say where the values of ``blob`` are if a fork of Caffe stored them its own way."""
    fields = UnknownFieldSet(blob)
    unknown = sorted({fields[i].field_number for i in range(len(fields))})
    if not unknown:
        return ""
    return (
        f"; its values are in the fields {unknown} of another Caffe's dialect "
        "(NVCaffe stores half floats so): save it there as float32"
    )


def blob_of(data: npt.NDArray[Any], diff: npt.NDArray[Any] | None = None) -> pb.BlobProto:
    """Return a BlobProto with the shape and the float32 values of ``data`` (and ``diff``)."""
    blob = _MESSAGE()
    blob.shape.dim.extend(data.shape)
    for number, values in ((_DATA, data), (_DIFF, diff)):
        if values is not None:
            # Packed floats are a length and the raw little-endian array.
            raw = np.ascontiguousarray(values, "<f4").tobytes()
            blob.MergeFromString(bytes([number << 3 | 2]) + _varint(len(raw)) + raw)
    return blob


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
