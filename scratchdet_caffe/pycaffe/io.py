"""Images, blobs and datums in and out of numpy arrays: ``caffe.io``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.caffeproto import array_of, blob_of, caffe_pb2
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.pycaffe.images import load_image, oversample, resize_image
from scratchdet_caffe.pycaffe.transformer import Transformer

__all__ = [
    "Transformer",
    "array_to_blobproto",
    "array_to_datum",
    "arraylist_to_blobprotovector_str",
    "blobproto_to_array",
    "blobprotovector_str_to_arraylist",
    "caffe_pb2",
    "datum_to_array",
    "load_image",
    "oversample",
    "resize_image",
]

Array = npt.NDArray[Any]


def blobproto_to_array(blob: pb.BlobProto, return_diff: bool = False) -> npt.NDArray[np.float32]:
    """Return the data (or diff) of a BlobProto, in its shape; see `array_to_blobproto`."""
    try:
        return array_of(blob, return_diff)
    except ValueError as error:
        raise UserError(f"blobproto_to_array: {error}") from error


def array_to_blobproto(arr: npt.ArrayLike, diff: npt.ArrayLike | None = None) -> pb.BlobProto:
    """Return a BlobProto with the shape and values of ``arr``."""
    return blob_of(np.asarray(arr), None if diff is None else np.asarray(diff))


def arraylist_to_blobprotovector_str(arraylist: Iterable[npt.ArrayLike]) -> bytes:
    """Return arrays as a serialised BlobProtoVector."""
    vector = pb.BlobProtoVector()
    vector.blobs.extend(array_to_blobproto(arr) for arr in arraylist)
    return vector.SerializeToString()


def blobprotovector_str_to_arraylist(text: bytes) -> list[npt.NDArray[np.float32]]:
    """Return the arrays of a serialised BlobProtoVector."""
    return [blobproto_to_array(blob) for blob in pb.BlobProtoVector.FromString(text).blobs]


def array_to_datum(arr: npt.NDArray[Any], label: int | None = None) -> pb.Datum:
    """Return a Datum of ``arr``, (channels, height, width): uint8 as bytes, others as floats."""
    if arr.ndim != 3:
        raise ValueError(f"a Datum holds (channels, height, width), not shape {arr.shape}")
    datum = pb.Datum(channels=arr.shape[0], height=arr.shape[1], width=arr.shape[2])
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(arr.astype(float).ravel())
    if label is not None:
        datum.label = label
    return datum


def datum_to_array(datum: pb.Datum) -> npt.NDArray[Any]:
    """Return a Datum's (channels, height, width) as uint8 or float, as it was stored.

    Raises:
        UserError: It holds an encoded image (decode ``datum.data``), or too few values.
    """
    if datum.encoded:
        raise UserError("datum_to_array: an encoded image; decode datum.data, e.g. with OpenCV")
    raw = datum.data
    flat: Array = np.frombuffer(raw, np.uint8) if raw else np.array(datum.float_data, float)
    shape = (datum.channels, datum.height, datum.width)
    if flat.size != np.prod(shape):
        raise UserError(f"datum_to_array: {flat.size} values for shape {shape}")
    return flat.reshape(shape)
