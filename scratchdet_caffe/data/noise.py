"""Caffe's noise_param: steps that disturb a resized picture, in the reference's order.

As in the reference every step that is switched on is done to every picture, whatever `prob`
says; only the places of salt and pepper are random.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.data.pixels import Pixels, as_pixels
from scratchdet_caffe.errors import UserError

_LEVELS = 64  # grey levels that posterize maps to one
_COLOUR_STEPS = ("decolorize", "jpeg", "convert_to_hsv", "convert_to_lab")


def check_noise(param: pb.NoiseParameter) -> None:
    """Check settings that fit no picture.

    Raises:
        UserError: Salt and pepper without a value or with an impossible share.
    """
    if param.saltpepper and not param.saltpepper_param.value:
        raise UserError("noise_param: saltpepper needs a saltpepper_param with a value")
    if not 0 <= param.saltpepper_param.fraction <= 1:
        raise UserError("noise_param: saltpepper_param.fraction must be between 0 and 1")
    if param.convert_to_hsv and param.convert_to_lab:
        raise UserError("noise_param: set convert_to_hsv or convert_to_lab, not both")


def add_noise(pixels: Pixels, param: pb.NoiseParameter, rng: np.random.Generator) -> Any:
    """Return ``pixels (H, W, C)`` with the noise of ``param``; the input stays as it is.

    Returns:
        uint8 ``(H, W, C)``; float32 with ``convert_to_lab`` (L 0 to 100, a and b -127 to 127),
        which the reference computes too but then reads as if they were bytes.

    Raises:
        UserError: A step needs colour, or salt and pepper has not a value for each channel.
    """
    if pixels.shape[2] != 3 and (asked := [name for name in _COLOUR_STEPS if _on(param, name)]):
        raise UserError(
            f"noise_param.{asked[0]} needs colour: set force_color: true in transform_param"
        )
    if param.decolorize:
        grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
        pixels = as_pixels(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))
    if param.gauss_blur:
        pixels = as_pixels(cv2.GaussianBlur(pixels, (7, 7), 1.5))
    if param.hist_eq:
        pixels = _on_luma(pixels, cv2.equalizeHist)
    if param.clahe:
        pixels = _on_luma(pixels, cv2.createCLAHE(clipLimit=4).apply)
    if param.jpeg > 0:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(param.jpeg)]
        pixels = as_pixels(cv2.imdecode(cv2.imencode(".jpg", pixels, quality)[1], cv2.IMREAD_COLOR))
    if param.erode:
        ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
        pixels = as_pixels(cv2.erode(pixels, ellipse))
    if param.posterize:
        levels = np.arange(256) // _LEVELS * _LEVELS + _LEVELS // 2
        pixels = as_pixels(cv2.LUT(pixels, levels.astype(np.uint8)))
    if param.inverse:
        pixels = 255 - pixels
    if param.saltpepper:
        pixels = _salted(pixels, param.saltpepper_param, rng)
    if param.convert_to_hsv:
        return as_pixels(cv2.cvtColor(pixels, cv2.COLOR_BGR2HSV))
    if param.convert_to_lab:
        return cv2.cvtColor(pixels.astype(np.float32) / np.float32(255), cv2.COLOR_BGR2Lab)
    return pixels


def _on(param: pb.NoiseParameter, name: str) -> bool:
    return bool(getattr(param, name) > 0)


def _on_luma(pixels: Pixels, step: Any) -> Pixels:
    """Apply ``step`` to the brightness of ``pixels`` alone."""
    if pixels.shape[2] == 1:
        return as_pixels(step(pixels[..., 0]))
    planes = cv2.cvtColor(pixels, cv2.COLOR_BGR2YCrCb)
    planes[..., 0] = step(np.ascontiguousarray(planes[..., 0]))
    return as_pixels(cv2.cvtColor(planes, cv2.COLOR_YCrCb2BGR))


def _salted(pixels: Pixels, param: pb.SaltPepperParameter, rng: np.random.Generator) -> Pixels:
    """Set ``fraction`` of the pixels, drawn with replacement, to the value of ``param``."""
    height, width, channels = pixels.shape
    if len(param.value) not in (1, channels):
        raise UserError(
            f"noise_param: {len(param.value)} saltpepper values for {channels} channels"
        )
    count = int(np.float32(param.fraction) * np.float32(width) * np.float32(height))
    salted: Pixels = pixels.copy()
    values = np.array(param.value, np.int64).astype(np.uint8)
    salted[rng.integers(height, size=count), rng.integers(width, size=count)] = values
    return salted
