"""What expansion and crops look at: a rectangle on an endless field around the picture.

Expansion pastes the picture on a canvas of up to 16 times its size, a crop cuts a window from
that, and a resize shrinks the window. None of these steps needs the canvas: the window is a
`View`, and `resized` computes only the output pixels that the picture reaches.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

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
    pixels = patch.pixels
    if patch.whole:
        if size == patch.view:
            return pixels
        return as_pixels(cv2.resize(pixels, size, interpolation=interpolation))
    scale = (patch.view[0] / size[0], patch.view[1] / size[1])
    if interpolation == cv2.INTER_AREA:
        # Enlarging by area has sampling rules of its own; such a canvas is small.
        if min(scale) < 1:
            return resized(_on_canvas(patch), size, interpolation)
        return _averaged(patch, size, scale)
    return _warped(patch, size, scale, interpolation)


def _canvas(patch: Patch, size: tuple[int, int]) -> Pixels:
    shape = (size[1], size[0], len(patch.fill))
    return np.ascontiguousarray(np.broadcast_to(patch.fill, shape))


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
    # Nearest takes the pixel left of the sample point, the others look at pixel centres.
    centre = 0.0 if interpolation == cv2.INTER_NEAREST else 0.5
    matrix = np.array(
        [
            [scale[0], 0, (x0 + centre) * scale[0] - 0.5 - patch.left + before],
            [0, scale[1], (y0 + centre) * scale[1] - 0.5 - patch.top + above],
        ]
    )
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
    """Average the field over each output pixel.

    The integral of a picture is bilinear between its pixels' corners, so its differences at
    the corners of the output pixels are exact.
    """
    height, width = patch.pixels.shape[:2]
    if not height or not width:
        return _canvas(patch, size)
    integral = np.asarray(cv2.integral(patch.pixels, sdepth=cv2.CV_64F), np.float64)
    integral = integral.reshape(height + 1, width + 1, -1)
    corner = [np.arange(n + 1) * s for n, s in zip(size, scale)]
    xs = (corner[0] - patch.left).clip(0, width)
    ys = (corner[1] - patch.top).clip(0, height)
    sums = _differences(_differences(integral, ys, 0), xs, 1)
    covered = np.diff(ys)[:, None, None] * np.diff(xs)[None, :, None]
    cell = scale[0] * scale[1]
    return np.rint((sums + patch.fill * (cell - covered)) / cell).clip(0, 255).astype(np.uint8)


def _differences(
    integral: npt.NDArray[np.float64], at: npt.NDArray[np.float64], axis: int
) -> npt.NDArray[np.float64]:
    """Return the differences of ``integral`` between the places ``at`` along ``axis``."""
    low = np.minimum(at.astype(np.intp), integral.shape[axis] - 2)
    share = (at - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    below, above = integral.take(low, axis), integral.take(low + 1, axis)
    return np.asarray(np.diff(below + (above - below) * share, axis=axis))
