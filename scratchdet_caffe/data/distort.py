"""SSD's photometric distortion: brightness, contrast, saturation, hue, order of channels.

Every step is a table of 256 entries. Steps in the same colour space are composed into one
table, rounded and saturated as the single steps are, and saturation and hue share one trip
through HSV.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.data.pixels import Pixels, as_pixels

Table = npt.NDArray[np.uint8]
_SAME: Table = np.arange(256, dtype=np.uint8)


@dataclass(frozen=True)
class Distortion:
    """The drawn amounts; None where the step is left out.

    Attributes:
        brightness: Added to every channel, grey levels.
        contrast: Factor on every channel.
        saturation: Factor on HSV's S.
        hue: Added to HSV's H, in OpenCV's units of 2 degrees; it saturates at 0 as there.
        contrast_first: Contrast before saturation and hue, or after them.
        order: Permutation of the channels.
    """

    brightness: float | None
    contrast: float | None
    saturation: float | None
    hue: float | None
    contrast_first: bool
    order: tuple[int, int, int] | None


def draw_distortion(param: pb.DistortionParameter, rng: np.random.Generator) -> Distortion:
    """Draw what to do to one picture; each step happens with its own probability."""

    def amount(prob: float, low: float, high: float) -> float | None:
        chance, value = rng.random(), rng.uniform(low, high)
        return value if chance < prob else None

    return Distortion(
        contrast_first=rng.random() > 0.5,
        brightness=amount(param.brightness_prob, -param.brightness_delta, param.brightness_delta),
        contrast=amount(param.contrast_prob, param.contrast_lower, param.contrast_upper),
        saturation=amount(param.saturation_prob, param.saturation_lower, param.saturation_upper),
        hue=amount(param.hue_prob, -param.hue_delta, param.hue_delta),
        order=_draw_order(rng) if rng.random() < param.random_order_prob else None,
    )


def _draw_order(rng: np.random.Generator) -> tuple[int, int, int]:
    first, second, third = rng.permutation(3).tolist()
    return (first, second, third)


def distort(pixels: Pixels, distortion: Distortion) -> Pixels:
    """Return ``pixels (H, W, 3)`` BGR distorted; the input is left as it is."""
    d = distortion
    early, late = (d.contrast, None) if d.contrast_first else (None, d.contrast)
    pixels = _looked_up(pixels, scaled(shifted(_SAME, d.brightness), early))
    if d.saturation is not None or d.hue is not None:
        tables = [shifted(_SAME, d.hue), scaled(_SAME, d.saturation), _SAME]
        hsv = cv2.cvtColor(pixels, cv2.COLOR_BGR2HSV)
        hsv = cv2.LUT(hsv, np.stack(tables, axis=1)[None])
        pixels = as_pixels(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR))
    pixels = _looked_up(pixels, scaled(_SAME, late))
    return pixels if d.order is None else np.ascontiguousarray(pixels[..., d.order])


def shifted(table: Table, amount: float | None) -> Table:
    """Return ``table (256,)`` with ``amount`` added, rounded and saturated as OpenCV does."""
    return table if amount is None else _saturated(table + np.float32(amount))


def scaled(table: Table, factor: float | None) -> Table:
    """Return ``table (256,)`` times ``factor``, rounded and saturated as OpenCV does."""
    return table if factor is None else _saturated(table * np.float32(factor))


def _saturated(values: npt.NDArray[np.float32]) -> Table:
    return np.rint(values).clip(0, 255).astype(np.uint8)


def _looked_up(pixels: Pixels, table: Table) -> Pixels:
    return pixels if table is _SAME else as_pixels(cv2.LUT(pixels, table))
