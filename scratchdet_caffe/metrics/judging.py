"""One set of detections judged by every rule that is in use, a respect at a time.

`Judging` has a field for each respect in which SSD-Caffe's DetectionEvaluate, VOC's devkit and
pycocotools differ. So the way from one of their numbers to another is a list of single changes,
and of each can be said how many detections and objects it moves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.metrics.caffe_files import whole_pixels
from scratchdet_caffe.metrics.detection_evaluate import average_precision
from scratchdet_caffe.metrics.results import Results
from scratchdet_caffe.metrics.voc import (
    Curve,
    Detections,
    Rule,
    Truth,
    ap_11point,
    ap_area,
    match,
    overlap,
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

RIGHT, WRONG, VOID, DROPPED = range(4)
"""Verdicts: true positive, false positive, on a difficult object, beyond the number that counts."""


@dataclass(frozen=True)
class Judging:
    """How detections are judged and added up.

    Attributes:
        boxes: "exact" as the net gives them, in pixels; "clipped" at the picture's border;
            "normalised" to the picture; "whole" pixels as in DetectionOutput's files.
        border: Added to the sides of a box.
        inclusive: Whether an overlap of exactly the threshold finds an object.
        single: Whether overlaps are computed in float32.
        count_difficult: Whether difficult objects count like others.
        free: Whether a detection takes the nearest object that is still free, one that counts
            before a difficult one; else only the nearest, free or not.
        crowds: Whether the overlap with a crowd is the share of the detection that lies inside;
            only where ``free``.
        most: How many detections of an image and class count; None for all.
        average: "11-point", "area", "101-point", or "ssd 11point|MaxIntegral|Integral".
        empty_is_zero: Whether a class without objects counts as 0 in the mean.
    """

    boxes: str = "exact"
    border: float = 1.0
    inclusive: bool = False
    single: bool = False
    count_difficult: bool = False
    free: bool = False
    crowds: bool = False
    most: int | None = None
    average: str = "11-point"
    empty_is_zero: bool = False


@dataclass(frozen=True)
class Verdicts:
    """What became of the detections and objects of one class.

    Attributes:
        detection: ``(D,)`` one of `RIGHT`, `WRONG`, `VOID`, `DROPPED`, in the order given.
        found: ``(G,)`` which objects were found.
        counts: ``(G,)`` which objects count.
        ap: The average precision; None if no object counts.
    """

    detection: Ints
    found: Bools
    counts: Bools
    ap: float | None


@dataclass(frozen=True)
class Judged:
    """All classes, and the mean over those that enter it."""

    classes: dict[str, Verdicts]
    mean: float | None

    def moved(self, other: Judged) -> tuple[int, int]:
        """How many detections have another verdict than in ``other``; likewise objects."""
        pairs = [(own, other.classes[name]) for name, own in self.classes.items()]
        return (
            sum(int((a.detection != b.detection).sum()) for a, b in pairs),
            sum(int(((a.found != b.found) | (a.counts != b.counts)).sum()) for a, b in pairs),
        )


def judge(
    results: Results, how: Judging, threshold: float = 0.5, zero_based: bool = False
) -> Judged:
    """Judge all detections of ``results``.

    Args:
        results: What was found beside what is there.
        how: The rule.
        threshold: IoU from which on a detection finds an object.
        zero_based: Whether the net's own coordinates begin at 0, as COCO's do, and not at 1.
    """
    sizes = np.array([[image.width, image.height] for image in results.images], np.float64)
    classes = {}
    for name, (found, truth) in results.by_class().items():
        found, truth = _seen(found, truth, how, sizes.reshape(-1, 2), 1.0 if zero_based else 0.0)
        classes[name] = _judge_class(found, truth, how, threshold)
    values = [own.ap for own in classes.values() if own.ap is not None or how.empty_is_zero]
    mean = float(np.mean([value or 0.0 for value in values])) if values else None
    return Judged(classes, mean)


def _seen(
    found: Detections, truth: Truth, how: Judging, sizes: Floats, origin: float
) -> tuple[Detections, Truth]:
    """Both with boxes as ``how`` wants them; ``origin`` is where the net's coordinates begin."""
    score, boxes = found.score, []
    for own in (found, truth):
        if how.boxes == "exact":
            boxes.append(own.box)
            continue
        limit = np.tile(sizes[own.image], 2).reshape(-1, 4)
        box = own.box - [origin, origin, 0, 0]
        boxes.append(box / limit if how.boxes == "normalised" else np.clip(box, 0, limit))
    if how.boxes == "whole":
        boxes = [whole_pixels(boxes[0].astype(np.float32)).astype(np.float64), truth.box]
        boxes[0][:, :2] += origin
        score = np.array([float(f"{value:.6g}") for value in score.tolist()])
    kind = np.float32 if how.single else np.float64
    return (
        Detections(found.image, score, boxes[0].astype(kind)),
        Truth(truth.image, boxes[1].astype(kind), truth.difficult, truth.crowd),
    )


def _judge_class(found: Detections, truth: Truth, how: Judging, threshold: float) -> Verdicts:
    rule = Rule("", how.border, how.inclusive)
    counts = ~truth.difficult | how.count_difficult
    if how.free or how.most is not None:
        verdict, taken = _free_match(found, truth, how, threshold, counts)
        order = np.lexsort((found.image, -found.score))  # as pycocotools: ties by image
        order = order[verdict[order] != DROPPED]
        tp, fp = verdict[order] == RIGHT, verdict[order] == WRONG
        ap = _average(found.score[order], tp, fp, int(counts.sum()), how.average)
        return Verdicts(verdict, taken & counts, counts, ap)
    curve = match(found, truth, rule, threshold, how.count_difficult)
    verdict = np.full(len(found.score), VOID, np.int64)
    verdict[curve.order[curve.tp]], verdict[curve.order[curve.fp]] = RIGHT, WRONG
    taken = np.zeros(len(truth.image), np.bool_)
    taken[curve.object[curve.tp]] = True
    ap = _average(curve.score, curve.tp, curve.fp, curve.positives, how.average)
    return Verdicts(verdict, taken, counts, ap)


def _free_match(
    found: Detections, truth: Truth, how: Judging, threshold: float, counts: Bools
) -> tuple[Ints, Bools]:
    """Verdicts and taken objects where a detection may take any object that is still free."""
    order = np.lexsort((-found.score, found.image))
    image = found.image[order]
    rank = np.arange(len(order)) - np.searchsorted(image, image)
    verdict = np.full(len(order), WRONG, np.int64)
    if how.most is not None:
        verdict[order[rank >= how.most]] = DROPPED
    taken = np.zeros(len(truth.image), np.bool_)
    detection, thing, iou = near_pairs(
        found, truth, how.border, threshold, how.inclusive, how.crowds
    )
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    # By detection, best first; of its objects those that count first, then the nearest, and of
    # equal overlaps the last, as pycocotools takes them.
    pairs = np.lexsort((-thing, -iou, ~counts[thing], place[detection]))
    settled = -1
    for d, g in zip(detection[pairs].tolist(), thing[pairs].tolist()):
        if d == settled or verdict[d] == DROPPED or (taken[g] and counts[g]):
            continue
        settled, taken[g] = d, True
        verdict[d] = RIGHT if counts[g] else VOID
    return verdict, taken


def near_pairs(
    found: Detections,
    truth: Truth,
    border: float,
    threshold: float,
    inclusive: bool = True,
    crowds: bool = False,
) -> tuple[Ints, Ints, Floats]:
    """Return all pairs of a detection and an object of its image that overlap enough.

    Args:
        found: The detections.
        truth: The objects.
        border: Added to the sides of a box.
        threshold: What is enough.
        inclusive: Whether an overlap of exactly the threshold is.
        crowds: Whether the overlap with a crowd is the share of the detection that lies inside.

    Returns:
        Indices of detections and of objects, and their overlap, ``(P,)`` each.
    """
    crowd = np.zeros(len(truth.image), np.bool_) if truth.crowd is None else truth.crowd
    by_image = np.argsort(truth.image, kind="stable")
    there = truth.image[by_image]
    start, stop = (np.searchsorted(there, found.image, side) for side in ("left", "right"))
    parts: list[tuple[Ints, Ints, Floats]] = []
    for slot in range(int((stop - start).max(initial=0))):
        here = (start + slot < stop).nonzero()[0]
        thing = by_image[start[here] + slot]
        iou = overlap(found.box[here], truth.box[thing], border)
        if crowds and crowd[thing].any():
            iou = np.where(crowd[thing], _inside(found.box[here], truth.box[thing], border), iou)
        near = iou >= threshold if inclusive else iou > threshold
        parts.append((here[near], thing[near], iou[near]))
    nothing = np.empty(0, np.int64)
    return (
        np.concatenate([nothing, *(part[0] for part in parts)]),
        np.concatenate([nothing, *(part[1] for part in parts)]),
        np.concatenate([np.empty(0), *(part[2] for part in parts)]),
    )


def _inside(box: Floats, crowd: Floats, border: float) -> Floats:
    """The share ``(N,)`` of the boxes ``(N, 4)`` that lies inside crowds ``(N, 4)``."""
    part = np.hstack([np.maximum(box[:, :2], crowd[:, :2]), np.minimum(box[:, 2:], crowd[:, 2:])])
    shared, whole = (
        np.maximum(own[:, 2:] - own[:, :2] + border, 0).prod(axis=1) for own in (part, box)
    )
    share: Floats = np.divide(shared, whole, out=np.zeros_like(whole), where=whole != 0)
    return share


def _average(score: Floats, tp: Bools, fp: Bools, positives: int, average: str) -> float | None:
    """AP of verdicts ``(D,)`` by falling score."""
    if positives == 0:
        return None
    if average.startswith("ssd "):
        kept = tp | fp
        single = score[kept].astype(np.float32), tp[kept].astype(np.float32)
        return average_precision(*single, positives, average.removeprefix("ssd "))
    right, wrong = tp.cumsum(), fp.cumsum()
    precision, recall = right / np.maximum(right + wrong, 1), right / positives
    order = np.arange(len(score))
    curve = Curve(order, score, tp, fp, order, recall, precision, positives)
    return _AVERAGES[average](curve)


def ap_101point(curve: Curve) -> float | None:
    """COCO's AP: mean of the best precision at recall 0, 0.01, ..., 1; see `ap_11point`."""
    if curve.positives == 0:
        return None
    envelope = np.maximum.accumulate(curve.precision[::-1])[::-1]
    at = np.searchsorted(curve.recall, np.linspace(0, 1, 101), side="left")
    return float(np.append(envelope, 0.0)[at].mean())


_AVERAGES: dict[str, Callable[[Curve], float | None]] = {
    "11-point": ap_11point,
    "area": ap_area,
    "101-point": ap_101point,
}
