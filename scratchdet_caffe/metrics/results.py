"""What a detector found in an image set beside what is there, and the score of it.

``detections.json`` of a run is one `Results`; everything that is said about a run afterwards
(scores, curves, pictures) is made from it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_text, written_aside
from scratchdet_caffe.metrics.voc import (
    VOC_PIXEL,
    Curve,
    Detections,
    Rule,
    Truth,
    ap_11point,
    ap_area,
    match,
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
OPTIONAL = ("crowd", "area", "order")


@dataclass(frozen=True)
class ImageResult:
    """One image; boxes are xmin, ymin, xmax, ymax in pixels, 1-based, both ends inside.

    Attributes:
        name: Stem of its file.
        width: Pixels.
        height: Pixels.
        detections: ``(D, 6)`` label, score, box.
        truth: ``(G, 6)`` label, difficult (0 or 1), box.
        crowd: ``(G,)`` which objects are COCO's crowds (they are difficult, too); None for none.
        area: ``(G,)`` areas in pixels by which objects are small or large; None for the boxes'.
        order: ``(D,)`` places of the detections in their file: of equal scores the one that
            comes first counts first. None where the order of images is the only one.
    """

    name: str
    width: int
    height: int
    detections: Floats
    truth: Floats
    crowd: Floats | None = None
    area: Floats | None = None
    order: Floats | None = None


@dataclass(frozen=True)
class Results:
    """An image set; ``classes`` are names by label, the background first."""

    classes: tuple[str, ...]
    images: list[ImageResult] = field(default_factory=list)

    def by_class(self) -> dict[str, tuple[Detections, Truth]]:
        """Return detections and objects of each class; images are numbered as in ``images``."""
        found, there = (
            _numbered([getattr(image, kind) for image in self.images])
            for kind in ("detections", "truth")
        )
        orders = [image.order for image in self.images if image.order is not None]
        if orders:
            found = found[np.argsort(np.concatenate(orders), kind="stable")]
        crowds = [
            np.zeros(len(image.truth)) if image.crowd is None else image.crowd
            for image in self.images
        ]
        crowd = np.concatenate([np.empty(0), *crowds]) != 0
        pairs = {}
        for label, name in list(enumerate(self.classes))[1:]:
            own = there[:, 1] == label
            d, g = found[found[:, 1] == label], there[own]
            pairs[name] = (
                Detections(d[:, 0].astype(np.int64), d[:, 2], d[:, 3:]),
                Truth(g[:, 0].astype(np.int64), g[:, 3:], g[:, 2] != 0, crowd[own]),
            )
        return pairs


def with_detections(truth: Results, image: Ints, table: Floats) -> Results:
    """Return ``truth`` with other detections.

    Args:
        truth: An image set.
        image: ``(D,)`` number of the image of each detection.
        table: ``(D, 6)`` label, score, box; of equal scores the first row counts first.
    """
    by_image = np.argsort(image, kind="stable")
    ends = np.cumsum(np.bincount(image, minlength=len(truth.images)))[:-1]
    images = [
        replace(own, detections=rows, order=order)
        for own, rows, order in zip(
            truth.images,
            np.split(table[by_image], ends),
            np.split(by_image.astype(np.float64), ends),
        )
    ]
    return Results(truth.classes, images)


def _numbered(tables: Sequence[Floats]) -> Floats:
    """Stack ``(K, 6)`` tables to ``(sum K, 7)``, the number of the table in front."""
    parts = [np.insert(table, 0, number, axis=1) for number, table in enumerate(tables)]
    return np.concatenate([np.empty((0, 7)), *parts])


@dataclass(frozen=True)
class ClassScore:
    """Score of one class under one rule; the APs are None for a class without objects."""

    curve: Curve
    difficult: int
    ap_11point: float | None
    ap_area: float | None


def score(
    results: Results, rule: Rule = VOC_PIXEL, threshold: float = 0.5
) -> dict[str, ClassScore]:
    """Score every class of ``results``, in the order of its labels."""
    scores = {}
    for name, (detections, truth) in results.by_class().items():
        curve = match(detections, truth, rule, threshold)
        difficult = int(truth.difficult.sum())
        scores[name] = ClassScore(curve, difficult, ap_11point(curve), ap_area(curve))
    return scores


def write_results(path: str | os.PathLike[str], results: Results) -> None:
    """Write ``detections.json``: one line per image, boxes to 1/100 pixel, scores to 9 digits."""
    with written_aside(path, "w") as stream:
        stream.write(f'{{"classes": {json.dumps(results.classes)},\n"images": [')
        for number, image in enumerate(results.images):
            more = {key: getattr(image, key) for key in OPTIONAL}
            fields = [
                f'"name":{json.dumps(image.name)},"width":{image.width},"height":{image.height}',
                f'"detections":{_rows(image.detections)},"truth":{_rows(image.truth)}',
                *(f'"{key}":{_values(own)}' for key, own in more.items() if own is not None),
            ]
            stream.write((",\n" if number else "\n") + "{" + ",".join(fields) + "}")
        stream.write("\n]}\n")


def _rows(table: Floats) -> str:
    rows = [
        f"[{label:.0f},{second:.9g},{xmin:.2f},{ymin:.2f},{xmax:.2f},{ymax:.2f}]"
        for label, second, xmin, ymin, xmax, ymax in table.tolist()
    ]
    return f"[{','.join(rows)}]"


def _values(values: Floats) -> str:
    return f"[{','.join(f'{value:.12g}' for value in values.tolist())}]"


def read_results(path: str | os.PathLike[str]) -> Results:
    """Read what `write_results` wrote.

    Raises:
        UserError: The file is missing, not of that form, or something in it belongs to nothing.
    """
    try:
        data = json.loads(read_text(path, "detections file"))
        images = [
            ImageResult(
                row["name"],
                row["width"],
                row["height"],
                np.array(row["detections"], np.float64).reshape(-1, 6),
                np.array(row["truth"], np.float64).reshape(-1, 6),
                **{key: np.array(row[key], np.float64) for key in OPTIONAL if key in row},
            )
            for row in data["images"]
        ]
        results = Results(tuple(data["classes"]), images)
        _check(results)
        return results
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: not a detections.json of `evaluate` ({error}); run evaluate again"
        ) from error


def _check(results: Results) -> None:
    """Check what was read from a file that anybody may have edited.

    Raises:
        ValueError: Something in it is no number or belongs to nothing.
    """
    classes, names = results.classes, [image.name for image in results.images]
    if not all(isinstance(name, str) for name in (*classes, *names)):
        raise ValueError("the name of a class or of an image is no text")
    if not names or len(classes) < 2 or len(set(classes)) < len(classes):
        raise ValueError("it has no images, no classes, or one class twice")
    for image in results.images:
        if not all(isinstance(side, int) and side > 0 for side in (image.width, image.height)):
            raise ValueError(f"image '{image.name}' has no width and height in whole pixels")
        for key in OPTIONAL:
            values, table = getattr(image, key), image.detections if key == "order" else image.truth
            if values is not None and values.shape != table.shape[:1]:
                raise ValueError(f"image '{image.name}': {key} does not have a number for each row")
        for table in (image.detections, image.truth):
            if not np.isfinite(table).all():
                raise ValueError(f"image '{image.name}' has a row with what is no number")
            if strange := set(table[:, 0].tolist()) - set(range(1, len(classes))):
                raise ValueError(f"image '{image.name}' has a row of label {min(strange):g}")
