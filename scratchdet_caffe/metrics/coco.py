"""COCO's average precision and recall, computed by pycocotools, for any image set.

    score = coco_score(results)                  # what our own `Results` hold
    score = coco_score_of(instances, detections) # COCO's JSON, as read
    score.summary()["AP"], score.ap(iou=0.5, size="small", label="cat")

Sizes are by area in pixels. COCO's bounds (32 and 96 pixels a side) suit photographs of 640
pixels; other sets name their own.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.metrics.results import Results

Floats = npt.NDArray[np.float64]
Json = dict[str, Any]

BOUNDS = (32.0, 96.0)
"""Sides in pixels at which COCO's medium and large objects begin."""
SIZES = ("all", "small", "medium", "large")
MOST_DETECTIONS = (1, 10, 100)
SUMMARY = (
    "AP", "AP50", "AP75", "APsmall", "APmedium", "APlarge",
    "AR1", "AR10", "AR100", "ARsmall", "ARmedium", "ARlarge",
)  # fmt: skip
"""The 12 numbers in pycocotools' order."""


@dataclass(frozen=True)
class CocoScore:
    """Average precision and recall by IoU, class, size and number of detections.

    Attributes:
        classes: Names of the K classes.
        iou: ``(T,)`` the IoU thresholds, 0.5 to 0.95.
        bounds: Sides in pixels at which medium and large objects begin.
        most: The M numbers of detections per image and class that count, ascending.
        precision: ``(T, R, K, 4, M)`` at R recalls, sizes as in `SIZES`; -1 without objects.
        recall: ``(T, K, 4, M)``.
        objects: ``(K, 4)`` number of objects that count.
    """

    classes: tuple[str, ...]
    iou: Floats
    bounds: tuple[float, float]
    most: tuple[int, ...]
    precision: Floats
    recall: Floats
    objects: npt.NDArray[np.int64]

    def ap(
        self, iou: float | None = None, size: str = "all", label: str | None = None
    ) -> float | None:
        """Return the average precision, None where no object counts.

        Args:
            iou: One threshold; the mean over all by default.
            size: One of `SIZES`.
            label: One class; the mean over those with objects by default.
        """
        chosen = self.precision[self._at(iou), :, :, SIZES.index(size), -1]
        return _mean(chosen[:, :, self._of(label)])

    def ar(
        self, most: int | None = None, size: str = "all", label: str | None = None
    ) -> float | None:
        """Return the average recall, None where no object counts.

        Args:
            most: How many detections per image and class count, one of ``self.most``; the
                largest by default.
            size: One of `SIZES`.
            label: One class; the mean over those with objects by default.
        """
        number = len(self.most) - 1 if most is None else self.most.index(most)
        return _mean(self.recall[:, self._of(label), SIZES.index(size), number])

    def summary(self, label: str | None = None) -> dict[str, float | None]:
        """Return COCO's 12 numbers by name (`SUMMARY`), of all classes or of one."""
        few, some, many = self.most
        values = [
            *(self.ap(iou, label=label) for iou in (None, 0.5, 0.75)),
            *(self.ap(size=size, label=label) for size in SIZES[1:]),
            *(self.ar(most, label=label) for most in (few, some, many)),
            *(self.ar(size=size, label=label) for size in SIZES[1:]),
        ]
        return dict(zip(SUMMARY, values))

    def _at(self, iou: float | None) -> slice | npt.NDArray[np.int64]:
        if iou is None:
            return slice(None)
        found: npt.NDArray[np.int64] = np.isclose(self.iou, iou).nonzero()[0]
        if not len(found):
            raise ValueError(f"IoU {iou:g} is none of {self.iou.round(2).tolist()}")
        return found

    def _of(self, label: str | None) -> slice:
        if label is None:
            return slice(None)
        index = self.classes.index(label)
        return slice(index, index + 1)


def _mean(values: Floats) -> float | None:
    known = values[values > -1]
    return float(np.mean(known)) if known.size else None


def coco_score(
    results: Results,
    bounds: tuple[float, float] = BOUNDS,
    most: tuple[int, int, int] = MOST_DETECTIONS,
    step: Callable[[float], None] | None = None,
) -> CocoScore:
    """Score an image set of ours by COCO's rules.

    A box from 10 to 19 is 10 pixels wide. A difficult object is neither found nor missed: any
    number of detections on it are left out, as in VOC, and overlaps are measured as on any
    other object (on a crowd COCO measures the share of the detection that lies inside it).

    Args:
        results: Objects and detections.
        bounds: Sides in pixels at which medium and large objects begin; their areas count.
        most: How many detections per image and class count, for AR; the last one for AP.
        step: Called with the share of the work done.
    """
    return coco_score_of(*coco_json(results), bounds, most, step)


def coco_score_of(
    instances: Json,
    detections: Sequence[Json],
    bounds: tuple[float, float] = BOUNDS,
    most: tuple[int, int, int] = MOST_DETECTIONS,
    step: Callable[[float], None] | None = None,
) -> CocoScore:
    """Score COCO's JSON, as `read_instances` and `read_coco_results` give it.

    Args:
        instances: ``images``, ``categories`` and ``annotations``; an annotation with
            ``difficult`` is ignored without being a crowd.
        detections: Each with ``image_id``, ``category_id``, ``bbox`` and ``score``.
        bounds: See `coco_score`.
        most: See `coco_score`.
        step: See `coco_score`.
    """
    check_bounds(bounds)
    truth, found = COCO(), COCO()
    truth.dataset = {**instances, "annotations": [_object(a) for a in instances["annotations"]]}
    found.dataset = {
        **{key: instances[key] for key in ("images", "categories")},
        "annotations": [_detection(i, d) for i, d in enumerate(detections, 1)],
    }
    small, large = (side**2 for side in bounds)
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found.createIndex()
        scorer = _Scorer(truth, found, step)
        scorer.params.maxDets = list(most)
        scorer.params.areaRngLbl = list(SIZES)
        scorer.params.areaRng = [[0, 1e10], [0, small], [small, large], [large, 1e10]]
        scorer.evaluate()
        scorer.accumulate()
    names = {category["id"]: str(category["name"]) for category in instances["categories"]}
    return CocoScore(
        classes=tuple(names[number] for number in scorer.params.catIds),
        iou=np.asarray(scorer.params.iouThrs),
        bounds=bounds,
        most=most,
        precision=scorer.eval["precision"],
        recall=scorer.eval["recall"],
        objects=scorer.objects(),
    )


def check_bounds(bounds: tuple[float, float]) -> None:
    """Check that small ends before large begins.

    Raises:
        UserError: They are not two rising positive numbers.
    """
    if not 0 < bounds[0] <= bounds[1] < np.inf:
        raise UserError(
            f"size bounds {bounds[0]:g},{bounds[1]:g}: give the sides in pixels at which medium "
            "and large objects begin, such as 32,96"
        )


class _Scorer(COCOeval):  # type: ignore[misc]
    """pycocotools' evaluation, which also says how far it is and knows difficult objects."""

    def __init__(self, truth: COCO, found: COCO, step: Callable[[float], None] | None) -> None:
        super().__init__(truth, found, "bbox")
        self._step = step
        self._category: Any = None

    def computeIoU(self, imgId: Any, catId: Any) -> Any:
        """Measure difficult objects, which take any number of matches, like others."""
        difficult = [g for g in self._gts.get((imgId, catId), ()) if g.get("difficult")]
        for gt in difficult:
            gt["iscrowd"] = 0
        ious = super().computeIoU(imgId, catId)
        for gt in difficult:
            gt["iscrowd"] = 1
        return ious

    def evaluateImg(self, imgId: Any, catId: Any, aRng: Any, maxDet: int) -> Any:
        """Count categories for who watches."""
        if self._step and catId != self._category:
            self._step(self.params.catIds.index(catId) / len(self.params.catIds))
            self._category = catId
        return super().evaluateImg(imgId, catId, aRng, maxDet)

    def objects(self) -> npt.NDArray[np.int64]:
        """How many objects count, by category and size ``(K, 4)``."""
        numbers = {category: k for k, category in enumerate(self.params.catIds)}
        counts = np.zeros((len(numbers), len(SIZES)), np.int64)
        for (_, category), gts in self._gts.items():
            for gt in gts:
                for a, (low, high) in enumerate(self.params.areaRng):
                    counts[numbers[category], a] += not gt["ignore"] and low <= gt["area"] <= high
        return counts


def _object(annotation: Json) -> Json:
    """A copy for pycocotools, which writes into it."""
    width, height = annotation["bbox"][2:]
    said = {key: value for key, value in annotation.items() if value is not None}
    own = {"area": width * height, "iscrowd": 0, **said}
    if own.get("difficult"):
        own["iscrowd"] = 1  # until overlaps are measured, see `_Scorer.computeIoU`
    return own


def _detection(number: int, detection: Json) -> Json:
    width, height = detection["bbox"][2:]
    return {**detection, "id": number, "area": width * height, "iscrowd": 0}


def coco_json(results: Results) -> tuple[Json, list[Json]]:
    """Return instances and detections of ``results`` as COCO has them.

    Images are numbered from 1 in their order, categories are the labels. Boxes become
    ``[xmin - 1, ymin - 1, width, height]``.
    """
    images: list[Json] = []
    annotations: list[Json] = []
    detections: list[Json] = []
    for number, image in enumerate(results.images, 1):
        images.append(
            {
                "id": number,
                "file_name": image.name,
                "width": image.width,
                "height": image.height,
            }
        )
        boxes = xywh(image.truth[:, 2:])
        areas = boxes[:, 2] * boxes[:, 3] if image.area is None else image.area
        crowd = np.zeros(len(boxes)) if image.crowd is None else image.crowd
        for box, area, is_crowd, (label, difficult) in zip(
            boxes.tolist(), areas.tolist(), crowd.tolist(), image.truth[:, :2].tolist()
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": int(label),
                    "bbox": box,
                    "area": area,
                    "iscrowd": int(is_crowd),
                    "difficult": int(difficult and not is_crowd),
                }
            )
        for box, (label, score) in zip(
            xywh(image.detections[:, 2:]).tolist(), image.detections[:, :2].tolist()
        ):
            detections.append(
                {"image_id": number, "category_id": int(label), "bbox": box, "score": score}
            )
    categories = [{"id": label, "name": name} for label, name in enumerate(results.classes)][1:]
    instances = {"images": images, "annotations": annotations, "categories": categories}
    return instances, detections


def xywh(boxes: Floats) -> Floats:
    """Turn boxes ``(K, 4)`` whose pixels are 1-based and both inside into COCO's."""
    return np.hstack([boxes[:, :2] - 1, boxes[:, 2:] - boxes[:, :2] + 1])
