"""Which detections are right: the rows of a DetectionEvaluate layer.

A few thousand rows at most and only decisions, so this runs on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scratchdet_caffe.engine.detection.boxes import overlap
from scratchdet_caffe.engine.detection.groundtruth import BOX, DIFFICULT, ITEM, read_labels
from scratchdet_caffe.engine.detection.ranking import ranked

#: Overlaps (D, M) of D detected and M true boxes, given as (D, 4), (M, 4) and the place (D,) of
#: each detection's image among the images that have detections.
Measure = Callable[[Tensor, Tensor, Tensor], Tensor]


def normalized_overlap(detected: Tensor, true: Tensor, place: Tensor) -> Tensor:
    """The `Measure` of boxes as they are, normalised 0-1."""
    return overlap(detected[:, None], true)


@dataclass(frozen=True)
class Rules:
    """How to judge detections.

    Attributes:
        num_classes: Number of classes, background included.
        background: Label of the background.
        overlap_threshold: From this overlap on a detection hits an object.
        use_difficult: Whether difficult objects count; else a hit on one counts as nothing.
    """

    num_classes: int
    background: int
    overlap_threshold: float
    use_difficult: bool


def images_with_detections(detected: Tensor) -> int:
    """Return how many images appear in the rows (D, 7) of a DetectionOutput layer."""
    items = detected[:, 0]
    return len(set(items[items != -1].tolist()))


def evaluate(
    detected: Tensor, truth: Tensor, rules: Rules, measure: Measure = normalized_overlap
) -> Tensor:
    """Judge detections against ground truth.

    Args:
        detected: Rows (D, 7): image, label, score, xmin, ymin, xmax, ymax; label -1 is no
            detection, image -1 is padding.
        truth: Rows (M, 8), see `groundtruth`; a row of image -1 ends them.
        rules: How to judge.
        measure: How to measure overlaps.

    Returns:
        Rows (K, 5). First, for every class but the background: -1, label, number of objects,
        -1, -1. Then, by image and label: image, label, score, true positive, false positive.

    Raises:
        ValueError: A label is the background's or out of range.
    """
    truth = truth[: int((truth[:, ITEM] != -1).long().cumprod(0).sum())]
    labels = read_labels(truth, rules.num_classes, rules.background)
    countable = (truth[:, DIFFICULT] == 0) | rules.use_difficult
    counts = torch.bincount(labels[countable], minlength=rules.num_classes)
    heads = torch.full((rules.num_classes, 5), -1.0)
    heads[:, 1] = torch.arange(rules.num_classes)
    heads[:, 2] = counts
    heads = heads[heads[:, 1] != rules.background]
    detected = detected[detected[:, 0] != -1]
    if (detected[:, 1] == rules.background).any():
        raise ValueError(f"a detection has label {rules.background}, which is the background's")
    _, place = torch.unique(detected[:, 0], return_inverse=True)
    real = detected[:, 1] != -1
    detected, place = detected[real], place[real]

    same = (detected[:, :1] == truth[:, ITEM]) & (detected[:, 1:2] == labels)
    # Where there is nothing to hit, Caffe leaves the rows in their order.
    rank = torch.where(same.any(1), detected[:, 2], 0)
    # Group by image, then label; labels are whole numbers below num_classes.
    group = place * (int(detected[:, 1].max()) + 1 if len(detected) else 1)
    order = ranked(group + detected[:, 1].long(), rank)
    detected, place, same = detected[order], place[order], same[order]

    hits = torch.full((len(detected),), -1)
    if len(truth):
        overlaps = measure(detected[:, 3:7], truth[:, BOX], place).masked_fill(~same, -1)
        best, nearest = overlaps.max(1)
        hits = torch.where(best >= rules.overlap_threshold, nearest, -1)
    true = _first_of_each(hits)
    false = ~true
    if len(truth):
        void = (hits >= 0) & ~countable[hits]
        true, false = true & ~void, false & ~void
    rows = torch.cat([detected[:, :3], torch.stack([true, false], 1).float()], dim=1)
    return torch.cat([heads, rows])


def _first_of_each(hits: Tensor) -> Tensor:
    """Which entries are the first to hit their object; -1 hits nothing."""
    first = torch.full((int(hits.max()) + 1 if len(hits) else 0,), len(hits))
    index = torch.arange(len(hits))
    struck = hits >= 0
    first.scatter_reduce_(0, hits[struck], index[struck], "amin")
    true = torch.zeros_like(struck)
    true[struck] = first[hits[struck]] == index[struck]
    return true
