"""Files about what was found in a user's own pictures: JSON, CSV, and the pictures themselves."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import cv2

from scratchdet_caffe.files import write_text, written_aside
from scratchdet_caffe.metrics import Results
from scratchdet_caffe.report.annotate import Mark, Pixels, annotated
from scratchdet_caffe.report.colours import class_colour

BOX = ("xmin", "ymin", "xmax", "ymax")


def write_picture(path: Path, pixels: Pixels, results: Results, number: int) -> None:
    """Write the picture of image ``number`` as JPEG, with what was found in it, best on top."""
    image = results.images[number]
    marks = [
        Mark(tuple(box), class_colour(int(label) - 1), f"{results.classes[int(label)]} {score:.2f}")
        for label, score, *box in image.detections[image.detections[:, 1].argsort()].tolist()
    ]
    picture = annotated(pixels, (image.width, image.height), marks)
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
    with written_aside(path) as stream:
        stream.write(encoded.tobytes())


def write_lists(out: Path, results: Results, files: Sequence[Path]) -> None:
    """Write ``detected.json`` and ``detected.csv`` to ``out``.

    Args:
        out: A folder.
        results: What was found; boxes in pixels.
        files: The picture of each image.
    """
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["file", "class", "score", *BOX])
    pictures = []
    for file, image in zip(files, results.images):
        found = [
            {"class": results.classes[int(label)], "score": float(f"{score:.6g}"), "box": box}
            for label, score, *box in image.detections.tolist()
        ]
        pictures.append(
            {
                "file": file.as_posix(),
                "width": image.width,
                "height": image.height,
                "detections": found,
            }
        )
        rows.writerows([file.as_posix(), own["class"], own["score"], *own["box"]] for own in found)
    write_text(out / "detected.csv", table.getvalue())
    lines = ",\n".join(json.dumps(picture) for picture in pictures)
    write_text(out / "detected.json", f"[\n{lines}\n]\n")
