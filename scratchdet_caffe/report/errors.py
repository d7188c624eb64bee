"""The errors of a detector as a page: shares, what is missed, pictures of the worst."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import jinja2

from scratchdet_caffe.data.folders import folder_aside
from scratchdet_caffe.files import write_text
from scratchdet_caffe.metrics import ERRORS, Diagnosis, Mistake, Results
from scratchdet_caffe.report.annotate import Mark, Pixels, annotated

WRONG, TRUE, FOUND, OTHER = "#d8342c", "#2fae5b", "#8f9aa5", "#e8a13a"
FOLDER = "worst"


def worst(diagnosis: Diagnosis, count: int) -> list[Mistake]:
    """Return ``count`` mistakes, the kinds in turn, of each the worst first.

    The worst detection is the one with the highest score, the worst miss the largest object.
    """
    kinds = [
        [mistake for mistake in diagnosis.mistakes if mistake.kind == kind]
        for kind in (*ERRORS, "missed")
    ]
    turns = max((len(own) for own in kinds), default=0)
    in_turn = [own[i] for i in range(turns) for own in kinds if i < len(own)]
    chosen = in_turn[:count]
    return sorted(chosen, key=lambda own: (*ERRORS, "missed").index(own.kind))


def write_errors(
    out: Path,
    results: Results,
    diagnosis: Diagnosis,
    summary: dict[str, Any],
    pixels: Callable[[int], Pixels] | None,
    count: int = 12,
) -> list[dict[str, Any]]:
    """Write ``errors.html`` and the pictures ``worst/*.jpg`` to ``out``.

    Args:
        out: A folder.
        results: What was diagnosed.
        diagnosis: The errors.
        summary: What ``metrics.json`` says of them.
        pixels: Returns the picture of an image, by its number; None for no pictures.
        count: How many pictures.

    Returns:
        Of each picture: kind, image, class, score, box, overlap, file, and a sentence.
    """
    mistakes = worst(diagnosis, count) if pixels else []
    rows = [_described(mistake, results) for mistake in mistakes]
    shutil.rmtree(out / FOLDER, ignore_errors=True)  # pictures of an earlier run
    if rows:
        with folder_aside(out / FOLDER) as folder:
            for number, (row, mistake) in enumerate(zip(rows, mistakes), 1):
                parts = (f"{number:02d}", row["kind"], row["class"], row["image"])
                name = "_".join(parts).replace(" ", "-").replace("/", "-") + ".jpg"
                picture = _picture(mistake, results, pixels(mistake.image))  # type: ignore[misc]
                cv2.imwrite(str(folder / name), picture, [cv2.IMWRITE_JPEG_QUALITY, 88])
                row["file"] = f"{FOLDER}/{name}"
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = resources.files(__package__).joinpath("errors.html").read_text("utf-8")
    page = environment.from_string(template).render(errors=summary, rows=rows, kinds=ERRORS)
    write_text(out / "errors.html", page)
    return rows


def _described(mistake: Mistake, results: Results) -> dict[str, Any]:
    image, name = results.images[mistake.image], results.classes[mistake.label]
    beside = results.classes[mistake.other[0]] if mistake.other else ""
    iou = f"IoU {mistake.overlap:.2f}"
    sentence = {
        "missed": f"no detection finds this {name}",
        "background": f"nothing is there that overlaps it by 0.1 or more: {name}?",
        "duplicate": f"a better detection had found this {name} ({iou})",
        "localisation": f"a {name} is there, but the box does not fit ({iou})",
    }.get(mistake.kind, f"taken for a {name}, but it is a {beside} ({iou})")
    return {
        "kind": mistake.kind,
        "image": image.name,
        "class": name,
        "score": mistake.score,
        "box": list(mistake.box),
        "overlap": mistake.overlap,
        "sentence": sentence,
    }


def _picture(mistake: Mistake, results: Results, pixels: Pixels) -> Pixels:
    """The wrong detection (red) or the missed object (amber) beside the objects of the image."""
    image, classes = results.images[mistake.image], results.classes
    marks = [
        Mark(tuple(box), TRUE, classes[int(label)] + (" (difficult)" if difficult else ""), 1)
        for label, difficult, *box in image.truth.tolist()
    ]
    name = classes[mistake.label]
    if mistake.kind == "missed":
        near: Sequence[list[float]] = image.detections[image.detections[:, 1] >= 0.3].tolist()
        marks = [Mark(tuple(box), FOUND, f"{classes[int(k)]} {s:.2f}", 1) for k, s, *box in near]
        marks.append(Mark(mistake.box, OTHER, f"missed: {name}", 3))
    else:
        marks.append(Mark(mistake.box, WRONG, f"{name} {mistake.score:.2f}", 3))
    return annotated(pixels, (image.width, image.height), marks)
