"""Detection files of the VOC devkit: one ``comp4_det_test_<class>.txt`` per class.

A line is ``image score xmin ymin xmax ymax``; ``image`` is the file's stem, boxes are in
pixels, 1-based, both ends inside (rule `VOC_PIXEL`). Boxes are written to a hundredth of a
pixel and scores to nine digits, so a float32 score reads back as the same number, and in the
order given, so equal scores keep their rank.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_text, write_text
from scratchdet_caffe.metrics.voc import Detections

PREFIX = "comp4_det_test_"


def write_detection_files(
    folder: str | os.PathLike[str],
    images: Sequence[str],
    detections: Mapping[str, Detections],
    prefix: str = PREFIX,
) -> list[Path]:
    """Write one file per class and return their paths.

    Args:
        folder: Where to; made if missing.
        images: Stem of each image, by the number that ``Detections.image`` holds.
        detections: By class name, boxes in pixels.
        prefix: What file names start with.
    """
    paths = []
    for name, found in detections.items():
        lines = [
            f"{images[image]} {score:.9g} {xmin:.2f} {ymin:.2f} {xmax:.2f} {ymax:.2f}\n"
            for image, score, (xmin, ymin, xmax, ymax) in zip(
                found.image.tolist(), found.score.tolist(), found.box.tolist()
            )
        ]
        paths.append(Path(folder, f"{prefix}{name}.txt"))
        write_text(paths[-1], "".join(lines))
    return paths


def read_detection_file(path: str | os.PathLike[str], images: Sequence[str]) -> Detections:
    """Read the detections of one class.

    Args:
        path: A file as `write_detection_files` or the devkit's users write it.
        images: The stems of the image set; their order numbers the images.

    Raises:
        UserError: A line has not six fields, a field is no number, or an image is not in
            the set.
    """
    number_of = {stem: number for number, stem in enumerate(images)}
    image, values = [], []
    for line_number, line in enumerate(read_text(path, "detection file").splitlines(), start=1):
        where, fields = f"{path}:{line_number}", line.split()
        if not fields:
            continue
        if len(fields) != 6:
            raise UserError(
                f"{where}: {len(fields)} fields; a line is 'image score xmin ymin xmax ymax'"
            )
        if fields[0] not in number_of:
            raise UserError(f"{where}: image '{fields[0]}' is not in the image set")
        image.append(number_of[fields[0]])
        try:
            values.append([float(field) for field in fields[1:]])
        except ValueError as error:
            raise UserError(f"{where}: {error}; score and box are numbers") from error
    table = np.array(values, np.float64).reshape(-1, 5)
    return Detections(np.array(image, np.int64), table[:, 0], table[:, 1:])
