"""What expansion and crops look at: a rectangle on an endless field around the picture.

Expansion pastes the picture on a canvas of up to 16 times its size, a crop cuts a window from
that, and a resize shrinks the window. None of these steps needs the canvas: the window is a
`View`, and `resized` computes only the output pixels that the picture reaches.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from scratchdet_caffe.data.pixels import Pixels, as_pixels

_REACH = 4  # pixels to each side that the widest kernel (Lanczos) reads


class View(NamedTuple):
    """A window in picture pixels; it may reach beyond the picture on every side."""

    left: int
    top: int
    width: int
    height: int


class Patch(NamedTuple):
    """The part of the picture that a view sees.

    Attributes:
        pixels: ``(h, w, C)``, empty where the view misses the picture.
        left: Columns of the view to the left of the patch.
        top: Rows of the view above it.
        view: Width and height of the whole view.
        fill: The colour of the field around the picture ``(C,)``.
    """

    pixels: Pixels
    left: int
    top: int
    view: tuple[int, int]
    fill: Pixels

    @property
    def whole(self) -> bool:
        """The view sees nothing but picture."""
        return self.pixels.shape[1::-1] == self.view


def seen(pixels: Pixels, view: View, fill: Pixels) -> Patch:
    """Cut from ``pixels (H, W, C)`` what ``view`` sees of it, without a copy."""
    height, width = pixels.shape[:2]
    left, right = np.clip([view.left, view.left + view.width], 0, width).tolist()
    top, bottom = np.clip([view.top, view.top + view.height], 0, height).tolist()
    return Patch(
        pixels[top:bottom, left:right],
        left - view.left,
        top - view.top,
        (view.width, view.height),
        fill,
    )


def resized(patch: Patch, size: tuple[int, int], interpolation: int) -> Pixels:
    """Return the whole view at ``size`` (width, height): ``(height, width, C)``.

    Args:
        patch: What the view sees.
        size: Pixels; equal to the view's own size for no resize at all.
        interpolation: One of OpenCV's ``INTER_`` numbers.
    """
    if size == patch.view:
        return patch.pixels if patch.whole else _on_canvas(patch).pixels
    if patch.whole:
        return as_pixels(cv2.resize(patch.pixels, size, interpolation=interpolation))
    scale = (patch.view[0] / size[0], patch.view[1] / size[1])
    if interpolation == cv2.INTER_AREA:
        # Enlarging by area has sampling rules of its own; such a canvas is small.
        if min(scale) < 1:
            return resized(_on_canvas(patch), size, interpolation)
        return _averaged(patch, size, scale)
    return _warped(patch, size, scale, interpolation)


def _canvas(patch: Patch, size: tuple[int, int]) -> Pixels:
    row = np.tile(patch.fill, size[0])  # whole rows copy fast, single pixels do not
    canvas: Pixels = np.broadcast_to(row, (size[1], len(row))).copy()
    return canvas.reshape(size[1], size[0], len(patch.fill))


def _on_canvas(patch: Patch) -> Patch:
    canvas = _canvas(patch, patch.view)
    height, width = patch.pixels.shape[:2]
    canvas[patch.top : patch.top + height, patch.left : patch.left + width] = patch.pixels
    return Patch(canvas, 0, 0, patch.view, patch.fill)


def _warped(
    patch: Patch, size: tuple[int, int], scale: tuple[float, float], interpolation: int
) -> Pixels:
    """Sample the field at the centres of the output pixels that the picture reaches."""
    output = _canvas(patch, size)
    height, width = patch.pixels.shape[:2]
    if not height or not width:
        return output
    right, bottom = patch.view[0] - patch.left - width, patch.view[1] - patch.top - height
    # A margin of field where there is field. Beyond it, and at the edges of the view, the
    # border is repeated, as a resize of the cut window does.
    above, below, before, after = (
        min(_REACH, gap) for gap in (patch.top, bottom, patch.left, right)
    )
    tile = cv2.copyMakeBorder(
        patch.pixels,
        above,
        below,
        before,
        after,
        cv2.BORDER_CONSTANT,
        value=patch.fill.tolist(),
    )
    x0, x1 = _reached(patch.left, width, scale[0], size[0])
    y0, y1 = _reached(patch.top, height, scale[1], size[1])
    # Where output pixel (x0, y0) looks in the tile: its centre, but for nearest its corner,
    # with a nudge because many corners lie on a tie of the rounding.
    nearest = interpolation == cv2.INTER_NEAREST
    centre, nudge = (0.0, 1 / 256) if nearest else (0.5, 0.0)
    at_x = (x0 + centre) * scale[0] - 0.5 + nudge - patch.left + before
    at_y = (y0 + centre) * scale[1] - 0.5 + nudge - patch.top + above
    matrix = np.array([[scale[0], 0, at_x], [0, scale[1], at_y]])
    output[y0:y1, x0:x1] = as_pixels(
        cv2.warpAffine(
            tile,
            matrix,
            (x1 - x0, y1 - y0),
            flags=interpolation | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    )
    return output


def _reached(start: int, length: int, scale: float, size: int) -> tuple[int, int]:
    """Return the range of output pixels that ``length`` pixels from ``start`` touch."""
    first = int((start - _REACH) / scale) - 1
    last = int((start + length + _REACH) / scale) + 2
    return max(first, 0), min(last, size)


def _averaged(patch: Patch, size: tuple[int, int], scale: tuple[float, float]) -> Pixels:
    """Average the field over each output pixel, from the view's corner to the picture's end."""
    output = _canvas(patch, size)
    height, width = patch.pixels.shape[:2]
    if not height or not width:
        return output
    columns = min(int((patch.left + width) / scale[0]) + 1, size[0])
    rows = min(int((patch.top + height) / scale[1]) + 1, size[1])
    reach = (math.ceil(columns * scale[0]), math.ceil(rows * scale[1]))
    view = (min(reach[0], patch.view[0]), min(reach[1], patch.view[1]))
    field = _on_canvas(patch._replace(view=view)).pixels
    # Scales instead of a size: the field is seldom a whole number of output pixels long.
    small = cv2.resize(field, None, fx=1 / scale[0], fy=1 / scale[1], interpolation=cv2.INTER_AREA)
    output[:rows, :columns] = as_pixels(small)[:rows, :columns]
    return output
