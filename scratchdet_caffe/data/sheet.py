"""A contact sheet: some pictures of a set with their boxes, on one page."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from scratchdet_caffe.data.annotation import Annotation
from scratchdet_caffe.data.examine import Checked
from scratchdet_caffe.data.pixels import Pixels, as_pixels, decode
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_bytes, written_aside

TILE = (220, 165)  # width and height, pixels
CAPTION = 18  # rows below each picture
COLUMNS, MOST = 6, 48
_FONT, _SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.38
_FAULT = (40, 40, 230)  # BGR


def write_sheet(
    path: str | os.PathLike[str], root: Path, items: Sequence[Checked], names: Mapping[str, str]
) -> int:
    """Write a JPEG of up to 48 of ``items``, those with faults first, and return how many.

    Args:
        path: The JPEG.
        root: What the entries are relative to.
        items: Checked samples.
        names: What to write at the boxes of a class.

    Raises:
        UserError: The file cannot be written.
    """
    chosen = _chosen(items)
    rows = math.ceil(len(chosen) / COLUMNS)
    sheet = np.full((rows * (TILE[1] + CAPTION), COLUMNS * TILE[0], 3), 255, np.uint8)
    for number, item in enumerate(chosen):
        row, column = divmod(number, COLUMNS)
        top, left = row * (TILE[1] + CAPTION), column * TILE[0]
        sheet[top : top + TILE[1] + CAPTION, left : left + TILE[0]] = _tile(root, item, names)
    with written_aside(path) as stream:
        stream.write(cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())
    return len(chosen)


def _chosen(items: Sequence[Checked]) -> list[Checked]:
    """Half the sheet at most for faults; the rest evenly over the list."""
    bad = [item for item in items if item.faults][: MOST // 2]
    good = [item for item in items if not item.faults]
    room = min(MOST - len(bad), len(good))
    return bad + [good[i * len(good) // room] for i in range(room)]


def _tile(root: Path, item: Checked, names: Mapping[str, str]) -> Pixels:
    tile = np.full((TILE[1] + CAPTION, TILE[0], 3), 245, np.uint8)
    try:
        pixels = decode(read_bytes(root / item.sample.entry.picture), cv2.IMREAD_COLOR)
    except UserError:
        pixels = None
    try:
        annotation = item.sample.read()
    except UserError:
        annotation = None
    if pixels is not None:
        scale = min((TILE[0] - 4) / pixels.shape[1], (TILE[1] - 4) / pixels.shape[0])
        small = as_pixels(
            cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        )
        if annotation is not None:
            _draw(small, annotation, pixels.shape[:2], names)
        height, width = small.shape[:2]
        tile[2 : 2 + height, (TILE[0] - width) // 2 :][:, :width] = small
    faults = item.faults
    caption = faults[0].split(": ", 1)[-1] if faults else item.sample.entry.stem
    colour = _FAULT if faults else (60, 60, 60)
    cv2.putText(tile, _fitting(caption), (4, TILE[1] + 12), _FONT, _SCALE, colour, 1, cv2.LINE_AA)
    if faults:
        at = (5, TILE[1] - 6)
        cv2.putText(tile, item.sample.entry.stem, at, _FONT, _SCALE, _FAULT, 1, cv2.LINE_AA)
        cv2.rectangle(tile, (0, 0), (TILE[0] - 1, TILE[1] - 1), _FAULT, 2)
    return tile


def _draw(
    small: Pixels, annotation: Annotation, size: Sequence[int], names: Mapping[str, str]
) -> None:
    said = (annotation.height or size[0], annotation.width or size[1])
    scale = np.array([small.shape[1] / said[1], small.shape[0] / said[0]] * 2)
    for thing in annotation.objects:
        left, top, right, bottom = np.rint(np.array(thing.box) * scale).astype(int).tolist()
        colour = _colour(thing.name)
        cv2.rectangle(small, (left, top), (right, bottom), colour, 1)
        text = names.get(thing.name, thing.name) + " (difficult)" * thing.difficult
        at = (left + 2, max(top + 10, 10))
        cv2.putText(small, text, at, _FONT, _SCALE, (0, 0, 0), 2, cv2.LINE_AA)
        cv2.putText(small, text, at, _FONT, _SCALE, colour, 1, cv2.LINE_AA)


def _colour(name: str) -> tuple[int, int, int]:
    """A bright colour that belongs to a class, whatever else is in the set."""
    hue = sum(ord(letter) * (i + 7) for i, letter in enumerate(name)) * 37 % 180
    bgr = cv2.cvtColor(np.array([[[hue, 200, 255]]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0]
    blue, green, red = bgr.tolist()
    return blue, green, red


def _fitting(text: str) -> str:
    plain = text.encode("ascii", "replace").decode()
    while cv2.getTextSize(plain, _FONT, _SCALE, 1)[0][0] > TILE[0] - 8:
        plain = plain[:-4] + ".."
    return plain
