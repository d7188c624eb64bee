"""Pictures with boxes: a small JPEG, and the boxes as SVG shapes over it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from scratchdet_caffe.metrics import ImageResult
from scratchdet_caffe.report.colours import class_colour

SIDE = 480  # longer side of the drawing, and the most pixels that its picture keeps
_ROOM_FOR_NAMES = 8  # with more boxes than this only scores are written, or nothing is seen


@dataclass(frozen=True)
class Shape:
    """A box in drawing units, ``label`` beside it; ``truth`` boxes have no label."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    label: str = ""
    difficult: bool = False


@dataclass(frozen=True)
class Drawing:
    """One picture: ``uri`` is its JPEG, the boxes are in a frame of ``width`` x ``height``."""

    name: str
    uri: str
    width: float
    height: float
    truth: list[Shape]
    detections: list[Shape]


def draw(
    image: ImageResult,
    pixels: npt.NDArray[np.uint8],
    classes: Sequence[str],
    min_score: float = 0.5,
) -> Drawing:
    """Return the drawing of an image with its objects and what was found with ``min_score``.

    Args:
        image: Objects and detections, in pixels of the original image.
        pixels: ``(H, W, C)``, 1 channel or blue, green, red; of any size.
        classes: Names by label, the background first.
        min_score: Detections below it are left out.
    """
    scale = SIDE / max(image.width, image.height)
    kept = image.detections[image.detections[:, 1] >= min_score]
    names = len(kept) <= _ROOM_FOR_NAMES
    detections = []
    for label, score, *box in kept[np.argsort(kept[:, 1])].tolist():
        text = f"{classes[int(label)]} {score:.2f}" if names else f"{score:.2f}"
        detections.append(Shape(*_frame(box, scale), class_colour(int(label) - 1), text))
    truth = [
        Shape(*_frame(box, scale), class_colour(int(label) - 1), difficult=bool(difficult))
        for label, difficult, *box in image.truth.tolist()
    ]
    return Drawing(
        image.name, _jpeg(pixels), image.width * scale, image.height * scale, truth, detections
    )


def _frame(box: Sequence[float], scale: float) -> tuple[float, float, float, float]:
    """x, y, width, height of a box whose pixels are 1-based and both inside."""
    left, top, right, bottom = ((side - low) * scale for side, low in zip(box, (1, 1, 0, 0)))
    return round(left, 1), round(top, 1), round(right - left, 1), round(bottom - top, 1)


def _jpeg(pixels: npt.NDArray[np.uint8]) -> str:
    shrink = SIDE / max(pixels.shape[:2])
    small: Any = pixels
    if shrink < 1:
        small = cv2.resize(pixels, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 82])[1]
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"
