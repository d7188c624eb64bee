"""A detector over a whole image set; a long look can be stopped and goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.cli import tracked
from scratchdet_caffe.data.pixels import Pixels
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.metrics import Results
from scratchdet_caffe.scoring.truth import GroundTruth

Floats = npt.NDArray[np.float64]
PARTIAL = "detections.partial.jsonl"


def look_at(
    truth: GroundTruth,
    detect: Callable[[list[Pixels]], list[Floats]],
    batch: int,
    out: Path,
    what: str,
) -> Results:
    """Run a detector over all pictures of ``truth``.

    What is found is noted in ``out/detections.partial.jsonl`` as it comes; if that file tells of
    the same ``what``, its pictures are not looked at again. It is removed at the end.

    Args:
        truth: What is there; it must have pictures.
        detect: See `Detector`.
        batch: Pictures at a time.
        out: A folder.
        what: Everything on which the detections depend.

    Raises:
        UserError: There are no pictures, or a file cannot be read or written.
    """
    if truth.pixels is None:
        raise UserError("the ground truth has no pictures: give their folder (--pictures-from)")
    images = truth.results.images
    key = hashlib.sha256("\n".join([what, *(image.name for image in images)]).encode()).hexdigest()
    path = out / PARTIAL
    found = _read(path, key)[: len(images)]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with open(path, "a" if found else "w", encoding="utf-8") as stream:
            if not found:
                stream.write(json.dumps({"key": key}) + "\n")
            for start in tracked(range(len(found), len(images), batch), "looking"):
                numbers = range(start, min(start + batch, len(images)))
                rows = detect([truth.pixels(number) for number in numbers])
                stream.writelines(json.dumps(own.tolist()) + "\n" for own in rows)
                stream.flush()
                found += rows
        os.remove(path)
    except OSError as error:
        raise UserError(f"{path}: cannot write it: {error.strerror or error}") from error
    offset = np.array([0, 0, 1, 1, 0, 0]) if truth.coco else 0.0
    return Results(
        truth.results.classes,
        [replace(image, detections=own + offset) for image, own in zip(images, found)],
    )


def _read(path: Path, key: str) -> list[Floats]:
    """What an interrupted look at the same has noted; a line that was cut short is dropped."""
    try:
        head, *lines = path.read_text("utf-8").split("\n")
        if json.loads(head) != {"key": key}:
            return []
    except (OSError, ValueError):
        return []
    whole = lines[:-1]  # what follows the last line end was cut short
    if lines[-1]:
        with open(path, "r+b") as stream:
            stream.truncate(path.stat().st_size - len(lines[-1].encode()))
    return [np.array(json.loads(line), np.float64).reshape(-1, 6) for line in whole]
