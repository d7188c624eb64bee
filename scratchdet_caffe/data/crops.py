"""Objects cut out of a detection set: a classification set, to pretrain backbones on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from scratchdet_caffe.caffeproto.labelmap import class_names, read_label_map
from scratchdet_caffe.data.database import Database
from scratchdet_caffe.data.folders import folder_aside
from scratchdet_caffe.data.pixels import Pixels, pixels_of
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import write_text

MARGIN = (1.1, 1.6)  # side of the cut over the longer side of the object, drawn evenly
JPEG_QUALITY = 95
LISTS = {"trainval_lmdb": "train.txt", "test_lmdb": "test.txt"}
CLASSES = "classes.txt"


def write_crops(dataset: Path, out: Path, size: int, seed: int = 0) -> dict[str, int]:
    """Cut every object that is not difficult out of both databases of ``dataset``.

    Args:
        dataset: A folder that ``prepare`` made.
        out: Written aside first: ``train.txt`` and ``test.txt`` with lines ``picture label``, as
            ImageData reads them (labels from 0), ``classes.txt``, and the pictures.
        size: Width and height of each, pixels.
        seed: Of the margins around the objects.

    Returns:
        How many pictures each list names.

    Raises:
        UserError: No such dataset, or a set has no object.
    """
    if size < 8:
        raise UserError(f"--size {size}: cut pictures of 8 pixels or more")
    names = class_names(read_label_map(dataset / "labelmap.prototxt"))
    counts = {}
    with folder_aside(out) as aside:
        write_text(aside / CLASSES, "".join(f"{name}\n" for name in names))
        for number, (source, name) in enumerate(LISTS.items()):
            folder = aside / name.removesuffix(".txt")
            folder.mkdir()
            rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, number))))
            lines: list[str] = []
            for picture, label in _cuts(Database(dataset / source), size, rng):
                file = f"{folder.name}/{len(lines):06d}.jpg"
                jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
                (aside / file).write_bytes(jpeg.tobytes())
                lines.append(f"{file} {label - 1}\n")
            if not lines:
                raise UserError(f"{dataset / source}: holds no object that could be cut out")
            write_text(aside / name, "".join(lines))
            counts[name] = len(lines)
    return counts


def _cuts(database: Database, size: int, rng: np.random.Generator) -> Iterator[tuple[Pixels, int]]:
    """Yield each object as a square picture, with its label (from 1)."""
    for index in range(len(database)):
        record = database.record(index)
        pixels = pixels_of(record.datum, force_color=True)
        height, width = pixels.shape[:2]
        for group in record.annotation_group:
            for annotation in group.annotation:
                box, margin = annotation.bbox, rng.uniform(*MARGIN)
                if box.difficult:
                    continue
                across, down = (box.xmax - box.xmin) * width, (box.ymax - box.ymin) * height
                side = math.ceil(max(across, down) * margin)
                centre = ((box.xmin + box.xmax) / 2 * width, (box.ymin + box.ymax) / 2 * height)
                if side >= 2:
                    yield _square(pixels, centre, side, size), group.group_label


def _square(pixels: Pixels, centre: tuple[float, float], side: int, size: int) -> Pixels:
    """Cut a square of ``side`` pixels out, the border repeated where it reaches beyond."""
    left, top = (round(middle - side / 2) for middle in centre)
    height, width = pixels.shape[:2]
    columns = np.arange(left, left + side).clip(0, width - 1)
    rows = np.arange(top, top + side).clip(0, height - 1)
    cut = pixels[rows[:, None], columns]
    interpolation = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(cut, (size, size), interpolation=interpolation), np.uint8)
