"""COCO's files: instances (what is there) and results (what was found), checked while read.

DetectionOutput writes results whose image ids keep the zeros in front of a name, which is not
JSON; they are read all the same.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_text, written_aside
from scratchdet_caffe.metrics.results import ImageResult, Results

Json = dict[str, Any]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_ZEROS = re.compile(r'("(?:image|category)_id":\s*)0+(?=\d)')
_DETECTION = "a detection is {image_id, category_id, bbox: [x, y, width, height], score}"
_ANNOTATION = "an annotation is {id, image_id, category_id, bbox: [x, y, width, height]}"


def read_json(path: str | os.PathLike[str], what: str) -> Any:
    """Return the JSON of ``path``, a ``what``.

    Raises:
        UserError: The file is missing or no JSON.
    """
    text = read_text(path, what)
    try:
        return json.loads(text)
    except ValueError as error:
        without = _ZEROS.sub(r"\1", text)
        if without != text:
            with_hint = f"{error} even without the zeros in front of its ids"
            try:
                return json.loads(without)
            except ValueError:
                raise UserError(f"{path}: not JSON: {with_hint}") from error
        raise UserError(f"{path}: not JSON: {error}") from error


def read_instances(path: str | os.PathLike[str]) -> Json:
    """Read COCO's instances JSON.

    Returns:
        ``images``, ``categories`` and ``annotations`` as they stand.

    Raises:
        UserError: No such file, or something in it is missing or belongs to nothing.
    """
    data = read_json(path, "instances file")
    if not isinstance(data, dict) or not all(
        isinstance(data.get(key), list) for key in ("images", "categories", "annotations")
    ):
        raise UserError(
            f"{path}: no instances file of COCO: it needs images, categories and annotations"
        )
    images = _ids(path, "images", data["images"], ("id",))
    categories = _ids(path, "categories", data["categories"], ("id", "name"))
    _ids(path, "annotations", data["annotations"], ("id", "image_id", "category_id", "bbox"))
    for kind, ids in (("images", images), ("categories", categories)):
        if not ids:
            raise UserError(f"{path}: no {kind} in it")
    name, count = Counter(str(row["name"]) for row in data["categories"]).most_common(1)[0]
    if count > 1:
        raise UserError(f"{path}: {count} categories are named '{name}'")
    _check(path, "annotations", data["annotations"], (images, categories), _ANNOTATION)
    _numbers(path, "images", data["images"], ("width", "height"))
    _numbers(path, "annotations", data["annotations"], ("area", "iscrowd", "difficult"))
    return data


def read_coco_results(
    path: str | os.PathLike[str], images: Collection[Any], categories: Collection[Any]
) -> list[Json]:
    """Read COCO's results JSON: the detections, in the order of the file.

    Args:
        path: The file.
        images: Ids of the image set.
        categories: Ids of the categories.

    Raises:
        UserError: No such file, a detection is not of COCO's form, or it names an image or a
            category that is not in the set.
    """
    data = read_json(path, "results file")
    if not isinstance(data, list):
        raise UserError(f"{path}: no results file of COCO: it holds no list of detections")
    _check(path, "detections", data, (images, categories), _DETECTION, scored=True)
    return data


def _ids(
    path: str | os.PathLike[str], kind: str, rows: list[Any], needed: Sequence[str]
) -> set[Any]:
    """The ids of rows; each must be an object with all ``needed`` and an id of its own."""
    ids = set()
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or any(key not in row for key in needed):
            raise UserError(f"{path}: {kind}[{number}] needs {', '.join(needed)}")
        if isinstance(row["id"], (dict, list)) or row["id"] in ids:
            raise UserError(f"{path}: {kind}[{number}]: id {row['id']} is given twice or is no id")
        ids.add(row["id"])
    if any(isinstance(own, str) for own in ids) and not all(isinstance(own, str) for own in ids):
        raise UserError(f"{path}: some ids of {kind} are numbers and some are text")
    return ids


def _numbers(
    path: str | os.PathLike[str], kind: str, rows: list[Json], keys: Sequence[str]
) -> None:
    """Check what need not be there; null says as little as nothing."""
    for number, row in enumerate(rows):
        for key in keys:
            value = row.get(key) or 0
            if not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise UserError(
                    f"{path}: {kind}[{number}]: {key} is {json.dumps(value)}, not a number from 0"
                )


def _check(
    path: str | os.PathLike[str],
    kind: str,
    rows: list[Any],
    known: tuple[Collection[Any], Collection[Any]],
    form: str,
    scored: bool = False,
) -> None:
    """Check boxes, scores and ids; all at once, and one by one only to name what is wrong."""
    images, categories = (set(ids) for ids in known)
    try:
        numbers = _floats([row["bbox"] for row in rows]).reshape(len(rows), 4)
        scores = _floats([row["score"] for row in rows] if scored else [])
        strange = (
            {row["image_id"] for row in rows} - images,
            {row["category_id"] for row in rows} - categories,
        )
        sound = np.isfinite(numbers).all() and (scored or (numbers[:, 2:] >= 0).all())
        if sound and np.isfinite(scores).all() and scores.ndim == 1 and not any(strange):
            return
    except (KeyError, TypeError, ValueError):
        pass
    for number, row in enumerate(rows):
        if fault := _fault(row, images, categories, form, scored):
            raise UserError(f"{path}: {kind}[{number}]: {fault}")


def _floats(values: list[Any]) -> Floats:
    """Numbers as an array; text is none, even if a number could be read from it."""
    found = np.array(values)
    if found.size and found.dtype.kind not in "iuf":
        raise TypeError("not numbers")
    return found.astype(np.float64)


def _fault(row: Any, images: set[Any], categories: set[Any], form: str, scored: bool) -> str:
    try:
        box, score = list(row["bbox"]), row["score"] if scored else 0
        unknown_image, unknown = row["image_id"] not in images, row["category_id"] not in categories
    except (KeyError, TypeError):
        return form
    if len(box) != 4 or not all(isinstance(value, (int, float)) for value in (*box, score)):
        return form
    if not all(map(math.isfinite, (*box, score))):
        return f"bbox {row['bbox']} and score must be finite"
    if not scored and min(box[2:]) < 0:
        return f"bbox {row['bbox']} has a negative width or height"
    if unknown_image:
        return f"image {_unknown(row['image_id'], images, 'in the image set')}"
    return f"category {_unknown(row['category_id'], categories, 'a class')}" if unknown else ""


def _unknown(value: Any, known: set[Any], what: str) -> str:
    """Say that an id is not known, and whether it is but for quotes and zeros in front."""
    plain = str(value).lstrip("0")
    alike = [own for own in known if str(own).lstrip("0") == plain]
    hint = f", but {json.dumps(alike[0])} is: numbers and text are not the same" if alike else ""
    return f"{json.dumps(value)} is not {what}{hint}"


def results_of(instances: Json, detections: Sequence[Json]) -> Results:
    """Return instances and detections of COCO as `Results`.

    Labels number the categories by rising id, images stand by rising id; a crowd is difficult.
    A box from x on is from x + 1 on here, where pixels are 1-based and both ends inside.
    """
    categories = sorted(instances["categories"], key=lambda category: category["id"])
    images = sorted(instances["images"], key=lambda image: image["id"])
    image_ids, category_ids = ([row["id"] for row in rows] for rows in (images, categories))
    number_of = {image: number for number, image in enumerate(image_ids)}
    annotations = instances["annotations"]
    there = _by_image(*table_of(annotations, image_ids, category_ids), len(images))
    found = _by_image(*table_of(detections, image_ids, category_ids), len(images))
    more: list[list[tuple[float, float]]] = [[] for _ in images]
    for row in annotations:
        area = row["bbox"][2] * row["bbox"][3] if row.get("area") is None else row["area"]
        more[number_of[row["image_id"]]].append((area, bool(row.get("iscrowd"))))
    results = Results(("background", *(str(category["name"]) for category in categories)))
    names = _names(images)
    for number, image in enumerate(images):
        truth, (area, crowd) = there[number], np.array(more[number], float).reshape(-1, 2).T
        results.images.append(
            ImageResult(
                names[number],
                _side(image, "width", truth[:, 4]),
                _side(image, "height", truth[:, 5]),
                found[number],
                truth,
                crowd=crowd if crowd.any() else None,
                area=area,
            )
        )
    return results


def _names(images: Sequence[Json]) -> list[str]:
    """Stems of the files; the ids where stems do not tell images apart or fit no line."""
    stems = [PurePosixPath(str(row.get("file_name") or row["id"])).stem for row in images]
    if len(set(stems)) < len(stems) or any(len(stem.split()) != 1 for stem in stems):
        return [str(row["id"]) for row in images]
    return stems


def _side(image: Json, key: str, reach: Floats) -> int:
    """Width or height; where the file does not say, as far as the objects reach."""
    return int(image.get(key) or math.ceil(reach.max(initial=1)))


def table_of(
    rows: Sequence[Json], image_ids: Sequence[Any], category_ids: Sequence[Any]
) -> tuple[Ints, Floats]:
    """Return the image numbers ``(K,)`` and the table ``(K, 6)`` of rows of COCO's JSON.

    Args:
        rows: Annotations or detections.
        image_ids: Ids of the images, by number.
        category_ids: Ids of the categories, by label from 1.

    Returns:
        Numbers of images; label, score (difficult or not for an annotation), and box, whose pixels
        are 1-based and both inside.
    """
    number_of = {image: number for number, image in enumerate(image_ids)}
    label_of = {category: label for label, category in enumerate(category_ids, 1)}
    boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
    table = np.empty((len(rows), 6))
    table[:, 0] = [label_of[row["category_id"]] for row in rows]
    table[:, 1] = [row["score"] if "score" in row else _difficult(row) for row in rows]
    table[:, 2:4] = boxes[:, :2] + 1
    table[:, 4:] = boxes[:, :2] + boxes[:, 2:]
    return np.array([number_of[row["image_id"]] for row in rows], np.int64), table


def _difficult(annotation: Json) -> bool:
    return bool(annotation.get("iscrowd") or annotation.get("difficult"))


def _by_image(number: Ints, table: Floats, images: int) -> list[Floats]:
    order = np.argsort(number, kind="stable")
    ends = np.cumsum(np.bincount(number, minlength=images))[:-1]
    return np.split(table[order], ends)


def write_coco_results(
    path: str | os.PathLike[str],
    results: Results,
    image_ids: Sequence[int] = (),
    category_ids: Sequence[int] = (),
) -> None:
    """Write what was found as COCO's results JSON, a detection a line.

    Args:
        path: The file.
        results: What was found.
        image_ids: Id of each image; by default the numbers that their names are, or their places
            from 1 where a name is no number.
        category_ids: Id of each class, without the background; by default the labels.
    """
    image_ids = image_ids or default_image_ids([image.name for image in results.images])
    category_ids = (0, *(category_ids or range(1, len(results.classes))))
    with written_aside(path, "w") as stream:
        stream.write("[")
        comma = "\n"
        for number, image in zip(image_ids, results.images):
            for label, score, xmin, ymin, xmax, ymax in image.detections.tolist():
                stream.write(
                    f'{comma}{{"image_id":{number},"category_id":{category_ids[int(label)]},'
                    f'"bbox":[{xmin - 1:.2f},{ymin - 1:.2f},{xmax - xmin + 1:.2f},'
                    f'{ymax - ymin + 1:.2f}],"score":{score:.9g}}}'
                )
                comma = ",\n"
        stream.write("\n]\n")


def default_image_ids(names: Sequence[str]) -> list[int]:
    """The numbers in ``names`` if each is another number, else 1, 2, ..."""
    if all(name.isdecimal() for name in names):
        numbers = [int(name) for name in names]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(1, len(names) + 1))
