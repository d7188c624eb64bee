"""Annotations of one picture as SSD-Caffe's tools also read them: JSON (COCO's fields) and text.

JSON is ``{"image": {width, height}, "annotation": [{category_id, bbox, iscrowd}]}``, as COCO's
files are split for SSD-Caffe: ``bbox`` is x, y, width, height, and a crowd counts as difficult.
Text has a line ``label xmin ymin xmax ymax`` for each object, with the label's number.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from scratchdet_caffe.data.annotation import Annotation, Object
from scratchdet_caffe.data.voc import read_annotation
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_text

Labels = Mapping[str, int]


def read_json(path: Path, labels: Labels) -> Annotation:
    """Read one picture's JSON annotation; ``category_id`` is a name of the label map.

    Raises:
        UserError: The file is missing, no JSON, or lacks something.
    """
    try:
        said = json.loads(read_text(path, "annotation"))
        image = said["image"]
        objects = [_object(number, item, path) for number, item in enumerate(said["annotation"], 1)]
        return Annotation(image.get("width") or None, image.get("height") or None, tuple(objects))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: malformed JSON: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            f"{path}: no annotation: it needs 'image' with width and height, and 'annotation' "
            f"with category_id and bbox (four numbers) of every object ({error})"
        ) from error


def _object(number: int, item: dict[str, object], path: Path) -> Object:
    left, top, width, height = np.array(item["bbox"], np.float32).tolist()
    box = tuple(np.array([left, top, left + width, top + height], np.float32).tolist())
    name = str(item["category_id"])
    if not all(map(math.isfinite, box)):
        raise UserError(f"{path}: object {number} ({name}): its bbox holds no numbers")
    return Object(name, box, bool(item.get("iscrowd", 0)))


def read_labels(path: Path, labels: Labels) -> Annotation:
    """Read one picture's text annotation; the numbers of ``labels`` tell the classes.

    Raises:
        UserError: The file is missing, or a line is no label and four numbers.
    """
    names = {label: name for name, label in labels.items()}
    objects = []
    for number, line in enumerate(read_text(path, "annotation").splitlines(), 1):
        if not line.strip():
            continue
        try:
            label, *edges = line.split()
            xmin, ymin, xmax, ymax = (float(edge) for edge in edges)
            name = names.get(int(label), label)
        except ValueError as error:
            raise UserError(
                f"{path}:{number}: expected 'label xmin ymin xmax ymax', not '{line.strip()}'"
            ) from error
        objects.append(Object(name, (xmin, ymin, xmax, ymax), False))
    return Annotation(None, None, tuple(objects))


READERS: dict[str, Callable[[Path, Labels], Annotation]] = {
    "xml": lambda path, labels: read_annotation(path),
    "json": read_json,
    "txt": read_labels,
}
"""By convert_annoset's ``label_type``."""
