"""Reading, resizing and cropping images, as `caffe.io` does: float32, (H, W, K), RGB."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_bytes

Array = npt.NDArray[Any]
_INTERPOLATION = {0: cv2.INTER_NEAREST, 1: cv2.INTER_LINEAR, 3: cv2.INTER_CUBIC}


def load_image(filename: str | os.PathLike[str], color: bool = True) -> Array:
    """Read an image as float32 in 0-1, RGB, (H, W, 3), or (H, W, 1) if not ``color``.

    Raises:
        UserError: The file cannot be read, or is no image.
    """
    raw = np.frombuffer(read_bytes(filename, "image"), np.uint8)
    flag = cv2.IMREAD_COLOR if color else cv2.IMREAD_GRAYSCALE
    image = cv2.imdecode(raw, flag | cv2.IMREAD_IGNORE_ORIENTATION) if raw.size else None
    if image is None:
        raise UserError(f"{filename}: not an image in a format that OpenCV reads")
    image = image[:, :, ::-1] if color else image[:, :, np.newaxis]
    return image.astype(np.float32) / 255


def resize_image(im: Array, new_dims: Sequence[int], interp_order: int = 1) -> npt.NDArray[Any]:
    """Resize ``im``, (H, W, K), to ``new_dims`` = (height, width), float32.

    ``interp_order`` is 0 (nearest), 1 (linear) or 3 (cubic).
    """
    if interp_order not in _INTERPOLATION:
        raise UserError(f"resize_image: interp_order must be 0, 1 or 3, not {interp_order}")
    height, width = (int(dim) for dim in new_dims)
    planes = [
        cv2.resize(
            np.ascontiguousarray(im[:, :, k], np.float32),
            (width, height),
            interpolation=_INTERPOLATION[interp_order],
        )
        for k in range(im.shape[2])
    ]
    return np.stack(planes, axis=2)


def oversample(images: Iterable[Array], crop_dims: Sequence[int]) -> npt.NDArray[np.float32]:
    """Crop each image at its four corners and the centre, and mirror the five crops.

    Args:
        images: N images (H, W, K) of one size.
        crop_dims: (height, width) of the crops.

    Returns:
        (10 N, height, width, K): for each image five crops, then their mirror images.
    """
    images = list(images)
    height, width = (int(dim) for dim in crop_dims)
    rows, cols = images[0].shape[0] - height, images[0].shape[1] - width
    if rows < 0 or cols < 0:
        raise UserError(
            f"oversample: crops of {height}x{width} do not fit images of "
            f"{images[0].shape[0]}x{images[0].shape[1]}"
        )
    corners = [(y, x) for y in (0, rows) for x in (0, cols)]
    # Caffe truncates the centre's corner, after rounding half sizes down.
    corners.append((int(rows / 2), int(cols / 2)))
    crops = []
    for image in images:
        five = [image[y : y + height, x : x + width] for y, x in corners]
        crops += five + [crop[:, ::-1] for crop in five]
    return np.stack(crops).astype(np.float32)
