"""Caffe's resize_param: sizes, padding, interpolation, and what happens to the boxes."""

from __future__ import annotations

import cv2
import numpy as np

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.data.boxes import Boxes
from scratchdet_caffe.data.pixels import Pixels, as_pixels
from scratchdet_caffe.data.view import Patch, resized
from scratchdet_caffe.errors import UserError

INTERPOLATIONS = {
    pb.ResizeParameter.LINEAR: cv2.INTER_LINEAR,
    pb.ResizeParameter.AREA: cv2.INTER_AREA,
    pb.ResizeParameter.NEAREST: cv2.INTER_NEAREST,
    pb.ResizeParameter.CUBIC: cv2.INTER_CUBIC,
    pb.ResizeParameter.LANCZOS4: cv2.INTER_LANCZOS4,
}
BORDERS = {
    pb.ResizeParameter.CONSTANT: cv2.BORDER_CONSTANT,
    pb.ResizeParameter.MIRRORED: cv2.BORDER_REFLECT_101,
    pb.ResizeParameter.REPEAT_NEAREST: cv2.BORDER_REPLICATE,
}


def draw_interpolation(param: pb.ResizeParameter, rng: np.random.Generator) -> int:
    """Return one of the interp_mode entries, each as likely, as OpenCV's number."""
    if not param.interp_mode:
        return cv2.INTER_LINEAR
    return INTERPOLATIONS[param.interp_mode[int(rng.integers(len(param.interp_mode)))]]


def scaled_size(param: pb.ResizeParameter, size: tuple[int, int]) -> tuple[int, int]:
    """Return the size (width, height) a picture of ``size`` is scaled to, before padding.

    WARP ignores the aspect ratio; FIT_LARGE_SIZE_AND_PAD fits the picture into height x
    width; FIT_SMALL_SIZE covers height x width with it. Fractions are cut off.
    """
    width, height = param.width, param.height
    aspect = np.float32(size[0]) / np.float32(size[1])
    wider = aspect > np.float32(width) / np.float32(height)
    if param.resize_mode == pb.ResizeParameter.WARP:
        return width, height
    if param.resize_mode == pb.ResizeParameter.FIT_LARGE_SIZE_AND_PAD:
        return (width, int(width / aspect)) if wider else (int(aspect * height), height)
    narrower = aspect < np.float32(width) / np.float32(height)
    return (width, int(width / aspect)) if narrower else (int(aspect * height), height)


def resize_picture(patch: Patch, param: pb.ResizeParameter, interpolation: int) -> Pixels:
    """Return the picture that ``patch`` shows, resized (and padded) by ``param``."""
    width, height = scaled_size(param, patch.view)
    pixels = resized(patch, (max(width, 1), max(height, 1)), interpolation)
    if param.resize_mode != pb.ResizeParameter.FIT_LARGE_SIZE_AND_PAD:
        return pixels
    missing = (param.height - pixels.shape[0], param.width - pixels.shape[1])
    top, left = missing[0] // 2, missing[1] // 2
    border = BORDERS[param.pad_mode]
    value = pad_colour(param, pixels.shape[2])
    return as_pixels(
        cv2.copyMakeBorder(
            pixels, top, missing[0] - top, left, missing[1] - left, border, value=value
        )
    )


def pad_colour(param: pb.ResizeParameter, channels: int) -> list[float]:
    """Return pad_value for each channel, 0 where it is not given.

    Raises:
        UserError: As many values as channels, or one for all, are needed.
    """
    values = list(param.pad_value) or [0.0]
    if len(values) not in (1, channels):
        raise UserError(f"resize_param: {len(values)} pad_value for {channels} channels")
    return values * channels if len(values) == 1 else values


def resize_boxes(boxes: Boxes, param: pb.ResizeParameter, size: tuple[int, int]) -> Boxes:
    """Return ``boxes (K, 4)`` of a picture of ``size`` (width, height) in the resized one.

    Boxes stay normalised, cut at the picture. The padding is not rounded to whole pixels
    here, although the picture's is: so does Caffe's UpdateBBoxByResizePolicy.
    """
    old = np.array(size, np.float32)
    new = np.array([param.width, param.height], np.float32)
    aspect, padding = old[0] / old[1], np.zeros(2, np.float32)
    if param.resize_mode == pb.ResizeParameter.FIT_LARGE_SIZE_AND_PAD:
        longer = 0 if aspect > new[0] / new[1] else 1
        fitted = new[0] / aspect if longer == 0 else new[1] * aspect
        padding[1 - longer] = (new[1 - longer] - fitted) / np.float32(2)
    elif param.resize_mode == pb.ResizeParameter.FIT_SMALL_SIZE:
        new = _covering(new, aspect)
    corners = boxes.reshape(-1, 2, 2) * old * (new - 2 * padding) / old
    low, high = np.maximum(corners[:, 0], 0), np.minimum(corners[:, 1], new)
    return ((np.stack([low, high], 1) + padding) / new).astype(np.float32).reshape(-1, 4)


def extrapolate_boxes(
    boxes: Boxes, param: pb.ResizeParameter, size: tuple[int, int], window: Boxes
) -> Boxes:
    """Express ``boxes (K, 4)`` in units of height_scale x width_scale (FIT_SMALL_SIZE only).

    Args:
        boxes: Normalised to ``window``.
        param: The resize; without both scales the boxes are returned as they are.
        size: Width and height of the picture before the resize.
        window: The crop ``(4,)`` taken after the resize, normalised.
    """
    fits = param.resize_mode == pb.ResizeParameter.FIT_SMALL_SIZE
    if not (fits and param.height_scale and param.width_scale):
        return boxes
    aspect = np.float32(size[0]) / np.float32(size[1])
    new = _covering(np.array([param.width, param.height], np.float32), aspect)
    unit = np.array([param.width_scale, param.height_scale], np.float32)
    shape = new * (window[2:] - window[:2])
    if (shape < unit).any():
        raise UserError(
            f"resize_param: width_scale {unit[0]:g} and height_scale {unit[1]:g} must not exceed "
            f"the picture, {shape[0]:g}x{shape[1]:g} after the resize"
        )
    result: Boxes = boxes * np.tile(shape, 2) / np.tile(unit, 2)
    return result


def _covering(new: Boxes, aspect: np.float32) -> Boxes:
    if aspect < new[0] / new[1]:
        return np.array([new[0], new[0] / aspect], np.float32)
    return np.array([aspect * new[1], new[1]], np.float32)
