"""Pictures stored as numbers, bytes or floats: their planes, and Caffe's transform of them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.errors import UserError

Floats = npt.NDArray[np.float32]


def planes_of(datum: pb.Datum) -> Floats:
    """Return the numbers of a Datum that is not encoded, ``(C, H, W)``.

    Raises:
        UserError: Their count does not fit the shape that the Datum states.
    """
    shape = (datum.channels, datum.height, datum.width)
    # As in Caffe, floats count only where there are no bytes.
    values = np.frombuffer(datum.data, np.uint8) if datum.data else np.array(datum.float_data)
    if min(shape) < 1 or math.prod(shape) != values.size:
        raise UserError(f"{values.size} numbers for a raw picture of the shape {shape} (C, H, W)")
    return values.astype(np.float32).reshape(shape)


def transformed(
    planes: Floats,
    param: pb.TransformationParameter,
    mean: Floats | None,
    train: bool,
    rng: np.random.Generator,
) -> Floats:
    """Crop, subtract the mean, scale and mirror ``planes (C, H, W)``, as Caffe does for raw data.

    Caffe neither resizes nor recolours raw pictures; `force_color` and the rest go unheeded.

    Args:
        planes: The picture, with any number of channels.
        param: Its crop, ``mean_value``, ``scale`` and ``mirror`` count.
        mean: The picture of ``mean_file``, of the shape of ``planes``.
        train: The crop lies anywhere; else it lies in the middle.
        rng: Source of every random choice.

    Raises:
        UserError: The crop is larger than the picture, or the mean does not fit it.
    """
    channels, height, width = planes.shape
    crop = (param.crop_h or param.crop_size or height, param.crop_w or param.crop_size or width)
    spare = (height - crop[0], width - crop[1])
    if min(spare) < 0:
        raise UserError(
            f"crop_size {crop[0]}x{crop[1]} is larger than the picture, {height}x{width}"
        )
    top, left = (int(rng.integers(s + 1)) if train else s // 2 for s in spare)
    window = np.s_[:, top : top + crop[0], left : left + crop[1]]
    picture = planes[window]
    if mean is not None:
        if mean.shape != planes.shape:
            raise UserError(
                f"{param.mean_file}: the mean is {mean.shape} (C, H, W), the picture {planes.shape}"
            )
        picture = picture - mean[window]
    elif param.mean_value:
        if len(param.mean_value) not in (1, channels):
            raise UserError(
                f"{len(param.mean_value)} mean_value for a picture of {channels} channels: "
                "give one value, or one for each channel"
            )
        picture = picture - np.array(param.mean_value, np.float32)[:, None, None]
    if param.mirror and rng.integers(2):
        picture = picture[..., ::-1]
    scaled: Floats = picture * np.float32(param.scale)
    return scaled
