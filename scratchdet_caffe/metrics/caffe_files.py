"""Detection files digit for digit as SSD-Caffe's DetectionOutput writes them.

Its way from a box to numbers: left, top, width and height are rounded to a hundredth of a pixel;
VOC and ILSVRC lines then cut each to a whole number, and end the box at left + width. So an end
may lie a pixel before the cut end. Scores there have six digits, in COCO's JSON nine, like all
its numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32s = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

# What its JSON writer takes out of quotes: names that look like numbers, zeros in front and all.
_BARE = re.compile(r"null|true|false|-?[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True)
class FileRows:
    """Detections as they are written, in their order.

    Attributes:
        names: ``(D,)`` the image of each.
        label: ``(D,)``.
        score: ``(D,)``.
        box: ``(D, 4)`` xmin, ymin, xmax, ymax in pixels.
    """

    names: Sequence[str]
    label: Ints
    score: Float32s
    box: Float32s


def hundredths(box: Float32s) -> Float32s:
    """Left, top, width and height ``(D, 4)`` of boxes ``(D, 4)``, rounded to 1/100 pixel."""
    sides = np.hstack([box[:, :2], box[:, 2:] - box[:, :2]]) * np.float32(100)
    # Halves are rounded away from zero, as C's round does.
    rounded = np.trunc(sides.astype(np.float64) + np.copysign(0.5, sides)) / 100
    return np.asarray(rounded, np.float32)


def whole_pixels(box: Float32s) -> Ints:
    """Boxes ``(D, 4)`` as VOC and ILSVRC files have them: xmin, ymin, xmax, ymax."""
    left_top, size = np.hsplit(hundredths(box).astype(np.int64), 2)
    return np.hstack([left_top, left_top + size])


def voc_files(rows: FileRows, classes: dict[int, str]) -> dict[str, str]:
    """Return the text of the file of each class, by its name.

    Args:
        rows: The detections; their labels are keys of ``classes``.
        classes: Names by label; classes of one name share a file.
    """
    lines: dict[str, list[str]] = {name: [] for name in classes.values()}
    for name, label, score, box in _lines(rows):
        lines[classes[label]].append(f"{name} {score:.6g} {box}\n")
    return {name: "".join(own) for name, own in lines.items()}


def ilsvrc_text(rows: FileRows) -> str:
    """Return the text of an ILSVRC file: image, label, score, box."""
    return "".join(
        f"{name} {label} {score:.6g} {box}\n" for name, label, score, box in _lines(rows)
    )


def _lines(rows: FileRows) -> Iterable[tuple[str, int, float, str]]:
    boxes = [f"{a} {b} {c} {d}" for a, b, c, d in whole_pixels(rows.box).tolist()]
    return zip(rows.names, rows.label.tolist(), rows.score.tolist(), boxes)


def coco_text(rows: FileRows, categories: dict[int, str]) -> str:
    """Return the text of COCO's JSON; names that look like numbers stand without quotes.

    A name with zeros in front thus makes it no JSON, as in the reference; `read_coco_results`
    reads it all the same.
    """
    named = {name: _bare(json.dumps(name)) for name in set(rows.names)}
    category = {label: _bare(json.dumps(name)) for label, name in categories.items()}
    detections = [
        f'        {{\n            "image_id": {named[name]},\n'
        f'            "category_id": {category[label]},\n            "bbox": [\n'
        + ",\n".join(f"                {_number(side)}" for side in box)
        + f'\n            ],\n            "score": {_number(score)}\n        }}'
        for name, label, score, box in zip(
            rows.names, rows.label.tolist(), rows.score.tolist(), hundredths(rows.box).tolist()
        )
    ]
    return "[\n" + ",\n".join(detections) + "\n    \n]\n"


def _number(value: float) -> str:
    return _bare(f'"{value:.9g}"')


def _bare(quoted: str) -> str:
    return quoted[1:-1] if _BARE.fullmatch(quoted, 1, len(quoted) - 1) else quoted
