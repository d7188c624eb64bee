"""Pictures as arrays: uint8 ``(H, W, C)``, channels blue, green, red, or one grey."""

from __future__ import annotations

import os
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from scratchdet_caffe.caffeproto import array_of, read_binary
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.errors import UserError

Pixels = npt.NDArray[np.uint8]


def as_pixels(array: Any) -> Pixels:
    """Return ``array`` as ``(H, W, C)``: OpenCV drops the axis of a single channel."""
    pixels: Pixels = np.asarray(array, np.uint8)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def decode(data: bytes, flags: int) -> Pixels | None:
    """Return the pixels of an encoded picture, or None where it cannot be decoded."""
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:  # e.g. sizes beyond what OpenCV allows
        return None
    return None if decoded is None else as_pixels(decoded)


def pixels_of(datum: pb.Datum, force_color: bool = False, force_gray: bool = False) -> Pixels:
    """Return the picture of a Datum, encoded or raw.

    Without a force flag an encoded picture keeps the channels its file has.

    Raises:
        UserError: It cannot be decoded, or raw data do not fit its shape.
    """
    if datum.encoded:
        flags = cv2.IMREAD_ANYCOLOR
        if force_color or force_gray:
            flags = cv2.IMREAD_COLOR if force_color else cv2.IMREAD_GRAYSCALE
        pixels = decode(datum.data, flags)
        if pixels is None:
            raise UserError("the picture cannot be decoded")
        return pixels
    shape = (datum.channels, datum.height, datum.width)
    if len(datum.float_data):
        raise UserError("raw pictures of floats are not supported: store 8-bit or encoded data")
    if len(datum.data) != shape[0] * shape[1] * shape[2] or not datum.data:
        raise UserError(f"{len(datum.data)} bytes of raw picture for the shape {shape}")
    raw = np.frombuffer(datum.data, np.uint8).reshape(shape)
    if (force_color and shape[0] != 3) or (force_gray and shape[0] != 1):
        raise UserError(f"force_color and force_gray need encoded pictures; this is raw, {shape}")
    return np.ascontiguousarray(raw.transpose(1, 2, 0))


def read_mean(path: str | os.PathLike[str]) -> npt.NDArray[np.float32]:
    """Read a mean picture (a BlobProto, as compute_image_mean writes) as ``(C, H, W)``.

    Raises:
        UserError: No BlobProto, or one that is no single picture.
    """
    try:
        mean = array_of(read_binary(path, pb.BlobProto))
    except ValueError as error:
        raise UserError(f"{path}: broken mean file: {error}") from error
    if mean.ndim < 3 or mean.size != np.prod(mean.shape[-3:]):
        raise UserError(f"{path}: a mean file holds one picture (C, H, W), this one {mean.shape}")
    return mean.reshape(mean.shape[-3:])
