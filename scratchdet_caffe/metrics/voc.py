"""Average precision of VOC: greedy matching, precision and recall, 11-point and area AP.

    curve = match(detections, truth, VOC_PIXEL, threshold=0.5)     # one class
    ap_11point(curve), ap_area(curve)

Detections are taken by falling score (equal scores keep their order). Each is compared only
with the object of its image that it overlaps most: true if the overlap passes the threshold
and the object is still free, false if not. A difficult object counts neither when found nor
when missed (M. Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge",
IJCV 2010, section 4.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Rule:
    """How two boxes are compared; a number is only worth something beside its rule.

    Attributes:
        name: What reports call the rule.
        border: Added to widths and heights: 1 for integer pixels that both count, else 0.
        inclusive: Whether an IoU equal to the threshold is a match.
    """

    name: str
    border: float
    inclusive: bool


VOC_PIXEL = Rule("voc-pixel", border=1.0, inclusive=False)
"""The devkit's: boxes in pixels, 1-based, both ends inside; IoU > threshold."""

PIXEL_INCLUSIVE = Rule("voc-pixel, IoU >= t", border=1.0, inclusive=True)
"""Of several other tools (Object-Detection-Metrics, Cartucho's mAP): the devkit's, IoU >= t."""

SSD = Rule("ssd", border=0.0, inclusive=True)
"""SSD-Caffe's DetectionEvaluate without sizes: boxes normalised to 0-1; IoU >= threshold."""


@dataclass(frozen=True)
class Detections:
    """Detections of one class.

    Attributes:
        image: ``(D,)`` number of the image.
        score: ``(D,)``.
        box: ``(D, 4)`` xmin, ymin, xmax, ymax.
    """

    image: Ints
    score: Floats
    box: Floats


@dataclass(frozen=True)
class Truth:
    """Ground truth of one class.

    Attributes:
        image: ``(G,)`` number of the image.
        box: ``(G, 4)`` xmin, ymin, xmax, ymax.
        difficult: ``(G,)``.
        crowd: ``(G,)`` which are COCO's crowds, difficult in any case; None for none.
    """

    image: Ints
    box: Floats
    difficult: Bools
    crowd: Bools | None = None


@dataclass(frozen=True)
class Curve:
    """Matched detections of one class by falling score, ``(D,)`` each.

    Attributes:
        order: Index of each row into the detections that were given.
        score: Score.
        tp: True positive: found a free, counting object.
        fp: False positive. A row that is neither found a difficult object.
        object: Index of the object that it overlaps enough, and most, free or not; -1 for none.
        recall: Share of counting objects found up to here; NaN if there are none.
        precision: Share of true among true and false positives up to here.
        positives: Number of counting (not difficult) objects.
    """

    order: Ints
    score: Floats
    tp: Bools
    fp: Bools
    object: Ints
    recall: Floats
    precision: Floats
    positives: int


def overlap(a: Floats, b: Floats, border: float = 0.0) -> Floats:
    """Return the IoU ``(N,)`` of boxes ``a`` and ``b``, ``(N, 4)`` each, row by row."""
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    shared = np.maximum(high - low + border, 0).prod(axis=1)
    area_a, area_b = ((box[:, 2:] - box[:, :2] + border).prod(axis=1) for box in (a, b))
    union = area_a + area_b - shared
    iou: Floats = np.divide(shared, union, out=np.zeros_like(union), where=union != 0)
    return iou


def match(
    detections: Detections,
    truth: Truth,
    rule: Rule = VOC_PIXEL,
    threshold: float = 0.5,
    count_difficult: bool = False,
) -> Curve:
    """Match the detections of one class with its objects over a whole image set.

    Args:
        detections: In the order of their file; equal scores keep it.
        truth: In the order of the annotations; the first of equal overlaps is taken.
        rule: How boxes are compared.
        threshold: IoU from which on a detection finds an object.
        count_difficult: Treat difficult objects like the others.
    """
    order = np.argsort(-detections.score, kind="stable")
    image, box = detections.image[order], detections.box[order]
    best, iou = best_object(image, box, truth, rule)
    near = iou >= threshold if rule.inclusive else iou > threshold
    counting = np.ones_like(truth.difficult) if count_difficult else ~truth.difficult

    # Only the first detection that points at an object finds it.
    first = np.zeros(len(order), np.bool_)
    first[near.nonzero()[0][np.unique(best[near], return_index=True)[1]]] = True
    ignored = near.copy()
    ignored[near] = ~counting[best[near]]
    tp, fp = first & ~ignored, ~first & ~ignored

    positives = int(counting.sum())
    found, false = tp.cumsum(), fp.cumsum()
    precision = found / np.maximum(found + false, 1)
    recall = found / positives if positives else np.full(len(order), np.nan)
    hit = np.where(near, best, -1)
    return Curve(order, detections.score[order], tp, fp, hit, recall, precision, positives)


def best_object(image: Ints, box: Floats, truth: Truth, rule: Rule) -> tuple[Ints, Floats]:
    """Return the index of the object that each box overlaps most, and that IoU, ``(D,)`` each.

    Args:
        image: ``(D,)`` number of the image of each box.
        box: ``(D, 4)``.
        truth: The objects; of equal overlaps the first is taken.
        rule: How boxes are compared.

    Returns:
        Index and IoU; boxes in images without objects have IoU -1.
    """
    by_image = np.argsort(truth.image, kind="stable")
    ordered = truth.image[by_image]
    start, stop = (np.searchsorted(ordered, image, side) for side in ("left", "right"))
    best, iou = np.zeros(len(image), np.int64), np.full(len(image), -1.0)
    # One round per object of the fullest image, not one per detection.
    for slot in range(int((stop - start).max(initial=0))):
        here = (start + slot < stop).nonzero()[0]
        candidate = by_image[start[here] + slot]
        value = overlap(box[here], truth.box[candidate], rule.border)
        better = value > iou[here]
        best[here[better]], iou[here[better]] = candidate[better], value[better]
    return best, iou


def ap_11point(curve: Curve) -> float | None:
    """VOC 2007's AP: mean of the best precision at recall >= 0, 0.1, ..., 1.0.

    Returns:
        0 for a class with objects but no detections, None for one without objects.
    """
    if curve.positives == 0:
        return None
    # As peers do, the points are multiples of 0.1 in doubles: the fourth lies above 0.3.
    points = np.arange(11) * 0.1
    best = [curve.precision[curve.recall >= point].max(initial=0) for point in points]
    return float(np.mean(best))


def ap_area(curve: Curve) -> float | None:
    """VOC 2010's AP: area under the precision made monotone; see `ap_11point`."""
    if curve.positives == 0:
        return None
    envelope = np.maximum.accumulate(curve.precision[::-1])[::-1]
    return float((np.diff(curve.recall, prepend=0) * envelope).sum())


def mean_ap(values: Mapping[str, float | None] | Iterable[float | None]) -> float | None:
    """Mean over the classes that have objects; None if no class has."""
    values = values.values() if isinstance(values, Mapping) else values
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
