"""Boxes and names drawn into a picture, for files that any viewer opens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

LEAST_SIDE = 480
"""Smaller pictures are enlarged until their longer side has as many pixels, or nothing is read."""


@dataclass(frozen=True)
class Mark:
    """A box to draw.

    Attributes:
        box: xmin, ymin, xmax, ymax in pixels of the original picture, 1-based, both ends inside.
        colour: ``#rrggbb``.
        text: Written above it; nothing if empty.
        thick: Width of the line in pixels.
    """

    box: tuple[float, ...]
    colour: str
    text: str = ""
    thick: int = 2


def annotated(pixels: Pixels, size: tuple[int, int], marks: Sequence[Mark]) -> Pixels:
    """Return the picture ``(H, W, 3)``, blue, green, red, with ``marks`` in it, later ones on top.

    Args:
        pixels: ``(H, W, C)``, 1 channel or 3; of any size.
        size: Width and height of the original picture, in whose pixels the boxes are.
        marks: The boxes.
    """
    scale = max(1.0, LEAST_SIDE / max(size))
    width, height = (max(1, round(side * scale)) for side in size)
    kind = cv2.INTER_NEAREST if scale > 3 else cv2.INTER_LINEAR
    canvas = np.asarray(cv2.resize(pixels, (width, height), interpolation=kind), np.uint8)
    if canvas.ndim == 2 or canvas.shape[2] == 1:
        canvas = np.asarray(cv2.cvtColor(canvas, cv2.COLOR_GRAY2BGR), np.uint8)
    for mark in marks:
        edges = np.subtract(mark.box, (1, 1, 0, 0)) * scale
        far = 2 * max(width, height)  # lines beyond are out of sight, and numbers without bound
        left, top, right, bottom = edges.clip(-far, far).round().astype(int).tolist()
        colour = _bgr(mark.colour)
        cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), colour, mark.thick, cv2.LINE_AA)
        if mark.text:
            _write(canvas, mark.text, (left, top), colour)
    return canvas


def _write(canvas: Pixels, text: str, corner: tuple[int, int], colour: Sequence[int]) -> None:
    """Write ``text`` on a patch of ``colour`` above ``corner``, within the picture."""
    plain = text.encode("ascii", "replace").decode()  # what OpenCV's letters can show
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.45
    (width, height), below = cv2.getTextSize(plain, font, size, 1)
    left = max(0, min(corner[0], canvas.shape[1] - width - 6))
    base = max(height + 4, corner[1] - below)
    place = (left, base - height - 4), (left + width + 6, base + below)
    cv2.rectangle(canvas, *place, colour, cv2.FILLED)
    ink = (0, 0, 0) if sum(colour) > 450 else (255, 255, 255)
    cv2.putText(canvas, plain, (left + 3, base - 1), font, size, ink, 1, cv2.LINE_AA)


def _bgr(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return blue, green, red
