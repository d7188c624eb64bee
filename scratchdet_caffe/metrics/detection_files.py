"""Detection files of the VOC devkit and of ILSVRC.

VOC has one file per class, ``comp4_det_test_<class>.txt``; a line is ``image score xmin ymin xmax
ymax``. ILSVRC has one file; a line is ``image label score xmin ymin xmax ymax``. ``image`` is the
file's stem, boxes are in pixels, 1-based, both ends inside (rule `VOC_PIXEL`). Boxes are written to
a hundredth of a pixel and scores to nine digits, so a float32 score reads back as the same number,
and in the order given, so equal scores keep their rank.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_text, write_text
from scratchdet_caffe.metrics.results import Results
from scratchdet_caffe.metrics.voc import Detections

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Names = Sequence[str] | Mapping[str, int]
"""Stems of an image set, in the order that numbers the images; or the number of each name."""

PREFIX = "comp4_det_test_"
_BOX = ("xmin", "ymin", "xmax", "ymax")


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


def write_ilsvrc_file(path: str | os.PathLike[str], results: Results) -> None:
    """Write what was found as ILSVRC's lines, image by image."""
    lines = [
        f"{image.name} {label:.0f} {score:.9g} {xmin:.2f} {ymin:.2f} {xmax:.2f} {ymax:.2f}\n"
        for image in results.images
        for label, score, xmin, ymin, xmax, ymax in image.detections.tolist()
    ]
    write_text(path, "".join(lines))


def read_detection_file(path: str | os.PathLike[str], images: Names) -> Detections:
    """Read the detections of one class.

    Args:
        path: A file as `write_detection_files` or the devkit's users write it.
        images: See `Names`.

    Raises:
        UserError: A line has not six fields, a field is no number, or an image is not in
            the set.
    """
    image, table = _read(path, images, ("score", *_BOX))
    return Detections(image, table[:, 0], table[:, 1:])


def read_voc_folder(
    folder: str | os.PathLike[str], images: Names, classes: Sequence[str]
) -> tuple[Ints, Floats]:
    """Read the files of all classes in ``folder``.

    Args:
        folder: Holds ``<prefix><class>.txt``, with one prefix for all.
        images: See `Names`.
        classes: Names by label, the background first.

    Returns:
        ``(D,)`` the number of the image of each detection, and ``(D, 6)`` label, score, box.

    Raises:
        UserError: A class has no file, a file no class, or see `read_detection_file`.
    """
    prefix = _prefix(Path(folder), classes[1:])
    parts = []
    for label, name in list(enumerate(classes))[1:]:
        found = read_detection_file(Path(folder, f"{prefix}{name}.txt"), images)
        labels = np.full(len(found.score), label, np.float64)
        parts.append((found.image, np.column_stack([labels, found.score, found.box])))
    image, table = zip(*parts)
    return np.concatenate(image), np.concatenate(table)


def read_ilsvrc_file(
    path: str | os.PathLike[str], images: Names, classes: Sequence[str]
) -> tuple[Ints, Floats]:
    """Read a file of ILSVRC's lines; see `read_voc_folder`.

    Raises:
        UserError: A line has not seven fields, a field is no number, an image is not in the set,
            or a label is none of the classes.
    """
    image, table = _read(path, images, ("label", "score", *_BOX))
    if strange := set(table[:, 0].tolist()) - set(range(1, len(classes))):
        raise UserError(f"{path}: label {min(strange):g} is none of the {len(classes) - 1} classes")
    return image, table


def _prefix(folder: Path, classes: Sequence[str]) -> str:
    """What comes before the class in the names of files, in a folder that has one for each."""
    stems = {path.stem for path in folder.glob("*.txt")}
    prefixes = {
        stem.removesuffix(name) for name in classes for stem in stems if stem.endswith(name)
    }
    missing = {p: [name for name in classes if p + name not in stems] for p in prefixes}
    if not missing:
        raise UserError(f"{folder}: no files of detections in it, such as {PREFIX}{classes[0]}.txt")
    best = min(missing, key=lambda p: (len(missing[p]), p != PREFIX, p))
    if missing[best]:
        raise UserError(
            f"{folder}: no {best}{missing[best][0]}.txt: each class of the ground truth needs a "
            f"file, an empty one if nothing was found ({len(missing[best])} missing)"
        )
    known = {best + name for name in classes}
    if strange := sorted(s for s in stems - known if s.startswith(best) and len(s) > len(best)):
        raise UserError(
            f"{folder}: {strange[0]}.txt is of class '{strange[0][len(best) :]}', which is not "
            "among the classes of the ground truth"
        )
    return best


def _read(
    path: str | os.PathLike[str], images: Names, columns: Sequence[str]
) -> tuple[Ints, Floats]:
    """Image numbers ``(D,)`` and the other columns ``(D, C)`` of a file."""
    if not isinstance(images, Mapping):
        images = {stem: number for number, stem in enumerate(images)}
    text, width = read_text(path, "detection file"), len(columns) + 1
    words, lines = text.split(), [line for line in text.splitlines() if line.strip()]
    try:
        if len(words) == width * len(lines):
            image = np.array([images[word] for word in words[::width]], np.int64)
            values = [list(map(float, words[i::width])) for i in range(1, width)]
            table = np.array(values, np.float64).T
            if np.isfinite(table).all():
                return image, table
    except (KeyError, ValueError):
        pass
    raise _fault(path, text, images, columns)


def _fault(
    path: str | os.PathLike[str], text: str, number_of: Mapping[str, int], columns: Sequence[str]
) -> UserError:
    """The error that names the first line that is wrong."""
    for line_number, line in enumerate(text.splitlines(), start=1):
        where, fields = f"{path}:{line_number}", line.split()
        if not fields:
            continue
        if len(fields) != len(columns) + 1:
            form = " ".join(("image", *columns))
            hint = "; VOC's files are read by their folder" if "label" in columns else ""
            return UserError(f"{where}: {len(fields)} fields; a line is '{form}'{hint}")
        if fields[0] not in number_of:
            return UserError(f"{where}: image '{fields[0]}' is not in the image set")
        for name, field in zip(columns, fields[1:]):
            try:
                value = float(field)
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                return UserError(f"{where}: {name} is '{field}', not a number")
    return UserError(f"{path}: cannot be read as a detection file")
