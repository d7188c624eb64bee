"""The numbers of ``metrics.json``: each under the name of the rule that it was made by."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from scratchdet_caffe.metrics.coco import SIZES, CocoScore
from scratchdet_caffe.metrics.detection_evaluate import DetectionEvaluation
from scratchdet_caffe.metrics.diagnosis import WEAK, Diagnosis
from scratchdet_caffe.metrics.results import Results, score
from scratchdet_caffe.metrics.voc import VOC_PIXEL, mean_ap

ELEVEN_POINT = f"{VOC_PIXEL.name} 11-point"
AREA = f"{VOC_PIXEL.name} area"


def summary(
    results: Results,
    threshold: float = 0.5,
    in_net: DetectionEvaluation | None = None,
    ap_version: str = "11point",
) -> dict[str, Any]:
    """Return mAP and per-class AP of ``results`` by VOC's rules, and of the net's own count.

    Args:
        results: What was found and what is there.
        threshold: IoU from which on a detection finds an object.
        in_net: What DetectionEvaluate's rows came to, if the net has that layer.
        ap_version: How they were added up.

    Returns:
        ``map`` by rule, ``rules`` explained, ``iou_threshold``, ``images``, and ``classes``: of
        each, ``objects`` (that count), ``difficult``, ``detections`` and ``ap`` by rule. An AP
        is None for a class without objects; such a class is left out of VOC's mean.
    """
    scores = score(results, VOC_PIXEL, threshold)
    classes = {
        name: {
            "objects": own.curve.positives,
            "difficult": own.difficult,
            "detections": len(own.curve.score),
            "ap": {ELEVEN_POINT: own.ap_11point, AREA: own.ap_area},
        }
        for name, own in scores.items()
    }
    maps = {
        ELEVEN_POINT: mean_ap(own.ap_11point for own in scores.values()),
        AREA: mean_ap(own.ap_area for own in scores.values()),
    }
    pixels = f"boxes in pixels, both ends inside, IoU > {threshold:g}, difficult objects ignored"
    rules = {
        ELEVEN_POINT: f"VOC 2007: {pixels}; mean of 11 precisions",
        AREA: f"VOC 2010: {pixels}; area under the monotone curve",
    }
    if in_net:
        own_rule = f"detection_eval {ap_version}"
        maps[own_rule] = in_net.mean
        rules[own_rule] = (
            "the number of the training log: the net's own DetectionEvaluate, added up in "
            "float32; a class without objects counts as 0"
        )
        for label, name in list(enumerate(results.classes))[1:]:
            classes[name]["ap"][own_rule] = in_net.ap.get(label)  # type: ignore[index]
    return {
        "map": maps,
        "rules": rules,
        "iou_threshold": threshold,
        "images": len(results.images),
        "classes": classes,
    }


def coco_summary(score: CocoScore) -> dict[str, Any]:
    """Return COCO's 12 numbers, of all and of each class, as ``metrics.json`` has them.

    Returns:
        ``map`` and ``classes``: the numbers by name (None where no object counts);
        ``bounds``: the sides in pixels from which on objects are medium and large;
        ``objects``: how many count, by size.
    """
    return {
        "map": score.summary(),
        "bounds": list(score.bounds),
        "objects": dict(zip(SIZES, score.objects.sum(axis=0).tolist())),
        "classes": {name: score.summary(name) for name in score.classes},
    }


def errors_summary(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return what ``metrics.json`` says of errors.

    Returns:
        ``rule`` explained; ``shares`` of each kind among all errors; ``total`` and ``classes``:
        how many of the best detections are correct or of each kind; ``missed`` by size, with
        the ``bounds`` in pixels.
    """
    similar = "" if diagnosis.grouped else "; no classes are taken for similar"
    return {
        "rule": "Hoiem et al. 2012: of each class as many of the best detections as it has "
        f"objects; IoU of an error with an object from {WEAK:g} on; duplicates apart{similar}",
        "shares": diagnosis.shares,
        "total": diagnosis.totals,
        "classes": diagnosis.counts,
        "bounds": list(diagnosis.bounds),
        "missed": {size: asdict(own) for size, own in diagnosis.misses.items()},
    }
