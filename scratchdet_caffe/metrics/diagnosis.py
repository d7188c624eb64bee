"""What kinds of errors a detector makes, after Hoiem, Chodpathumwan and Dai (ECCV 2012).

Of each class the best N detections are looked at, N being the number of its objects. One that is
no true positive (rule `VOC_PIXEL`) is, in this order,

    duplicate       it overlaps an object of its class enough, but a better one had found it;
    localisation    it overlaps an object of its class by 0.1 or more, but not enough;
    similar class   it overlaps an object of a similar class by 0.1 or more;
    other class     it overlaps an object of another class by 0.1 or more;
    background      none of these.

(The paper counts duplicates among the localisation errors.) Detections of difficult objects are
passed over, and so are those that lie inside a crowd of COCO's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.metrics.coco import SIZES
from scratchdet_caffe.metrics.judging import near_pairs
from scratchdet_caffe.metrics.results import Results
from scratchdet_caffe.metrics.similar import Groups, known_groups, similarity
from scratchdet_caffe.metrics.voc import (
    VOC_PIXEL,
    Curve,
    Detections,
    Truth,
    best_object,
    match,
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CORRECT = "correct"
ERRORS = ("localisation", "duplicate", "similar class", "other class", "background")
WEAK = 0.1
"""The overlap from which on a detection has to do with an object at all."""


@dataclass(frozen=True)
class Mistake:
    """A false positive, or (kind "missed") an object that nothing found.

    Attributes:
        kind: One of `ERRORS`, or "missed".
        image: Number of its image.
        label: Its class.
        score: Of the detection; 0 for an object.
        box: Its box.
        overlap: Its IoU with ``other``.
        other: Label and box of the object that it has to do with; None for the background.
    """

    kind: str
    image: int
    label: int
    score: float
    box: tuple[float, ...]
    overlap: float = 0.0
    other: tuple[int, tuple[float, ...]] | None = None


@dataclass(frozen=True)
class Misses:
    """Objects of a size: how many there are, and how many are not found.

    Attributes:
        objects: How many there are.
        missed: How many no detection finds, whatever its score.
        missed_at_best: How many are not found by detections above the score that gives the best
            F1 of their class.
    """

    objects: int
    missed: int
    missed_at_best: int


@dataclass(frozen=True)
class Diagnosis:
    """The errors of a detector.

    Attributes:
        counts: By class, how many of the best detections are correct or of each kind of error.
        misses: By size.
        mistakes: All of them, the highest score first; missed objects, the largest first.
        bounds: Sides in pixels at which medium and large objects begin.
        grouped: Whether any classes are taken for similar.
    """

    counts: dict[str, dict[str, int]]
    misses: dict[str, Misses]
    mistakes: list[Mistake] = field(repr=False)
    bounds: tuple[float, float]
    grouped: bool

    @property
    def totals(self) -> dict[str, int]:
        """How many detections are correct or of each kind, over all classes."""
        kinds = (CORRECT, *ERRORS)
        return {kind: sum(own[kind] for own in self.counts.values()) for kind in kinds}

    @property
    def shares(self) -> dict[str, float]:
        """The share of each kind among all errors; 0 if there is none."""
        totals = self.totals
        errors = sum(totals[kind] for kind in ERRORS)
        return {kind: totals[kind] / max(errors, 1) for kind in ERRORS}


def diagnose(
    results: Results,
    bounds: tuple[float, float],
    groups: Groups | None = None,
    threshold: float = 0.5,
) -> Diagnosis:
    """Tell the errors of ``results`` apart.

    Args:
        results: What was found beside what is there.
        bounds: Sides in pixels at which medium and large objects begin.
        groups: Sets of similar classes; by default those of VOC's and COCO's classes.
        threshold: IoU above which a detection finds an object.
    """
    names = results.classes[1:]
    groups = known_groups(names) if groups is None else groups
    alike = similarity(names, groups)
    pairs = list(results.by_class().values())
    everything = _Objects.of([truth for _, truth in pairs])
    counts: dict[str, dict[str, int]] = {}
    mistakes: list[Mistake] = []
    sizes: list[Floats] = []
    for label, (name, (found, truth)) in enumerate(zip(names, pairs), 1):
        curve = match(found, truth, VOC_PIXEL, threshold)
        false = curve.fp & ~_in_crowds(found, truth, threshold)[curve.order]
        top = (curve.tp | false).nonzero()[0][: curve.positives]
        wrong = _wrong(found, curve, top[false[top]], label, everything, alike[label - 1])
        kinds = [mistake.kind for mistake in wrong]
        counts[name] = {CORRECT: int(curve.tp[top].sum())}
        counts[name] |= {kind: kinds.count(kind) for kind in ERRORS}
        missed, table = _missed(truth, curve, label)
        mistakes += wrong + missed
        sizes.append(table)
    mistakes.sort(key=lambda own: (-own.score, -_area(own.box)))
    misses = _by_size(np.concatenate([np.empty((0, 3)), *sizes]), bounds)
    return Diagnosis(counts, misses, mistakes, bounds, bool(alike.any()))


@dataclass(frozen=True)
class _Objects:
    """Objects of several classes, ``(G,)`` each."""

    truth: Truth
    label: Ints

    @classmethod
    def of(cls, truths: Sequence[Truth]) -> _Objects:
        parts = [
            np.concatenate([empty, *(getattr(truth, key) for truth in truths)])
            for key, empty in (
                ("image", np.empty(0, np.int64)),
                ("box", np.empty((0, 4))),
                ("difficult", np.empty(0, np.bool_)),
            )
        ]
        counts = [len(truth.image) for truth in truths]
        return cls(Truth(*parts), np.repeat(np.arange(1, len(truths) + 1), counts))

    def where(self, wanted: npt.NDArray[np.bool_]) -> _Objects:
        """Those whose class ``(C,)`` says is wanted."""
        keep = wanted[self.label - 1]
        truth = Truth(self.truth.image[keep], self.truth.box[keep], self.truth.difficult[keep])
        return _Objects(truth, self.label[keep])


def _in_crowds(found: Detections, truth: Truth, threshold: float) -> npt.NDArray[np.bool_]:
    """Which detections ``(D,)`` lie inside a crowd of their class."""
    inside = np.zeros(len(found.score), np.bool_)
    if truth.crowd is not None and truth.crowd.any():
        crowd = truth.crowd
        only = Truth(truth.image[crowd], truth.box[crowd], crowd[crowd], crowd[crowd])
        pairs = near_pairs(found, only, VOC_PIXEL.border, threshold, crowds=True)
        inside[pairs[0]] = True
    return inside


def _wrong(
    found: Detections,
    curve: Curve,
    rows: Ints,
    label: int,
    objects: _Objects,
    alike: npt.NDArray[np.bool_],
) -> list[Mistake]:
    """The mistakes that are the ``rows`` of ``curve``, whose class is ``label``."""
    order = curve.order[rows]
    image, box, score = found.image[order], found.box[order], found.score[order]
    own = np.arange(len(alike)) == label - 1
    groups = {"localisation": own, "similar class": alike, "other class": ~(own | alike)}
    mistakes: list[Mistake | None] = [None] * len(rows)
    for kind, wanted in groups.items():
        there = objects.where(wanted)
        best, iou = best_object(image, box, there.truth, VOC_PIXEL)
        for i in (iou >= WEAK).nonzero()[0].tolist():
            if mistakes[i] is None:
                twice = kind == "localisation" and curve.object[rows[i]] >= 0
                other = int(there.label[best[i]]), tuple(there.truth.box[best[i]].tolist())
                mistakes[i] = Mistake(
                    "duplicate" if twice else kind,
                    int(image[i]), label, float(score[i]), tuple(box[i].tolist()),
                    float(iou[i]), other,
                )  # fmt: skip
    return [
        known or Mistake("background", int(i), label, float(s), tuple(b))
        for known, i, s, b in zip(mistakes, image, score, box.tolist())
    ]


def _missed(truth: Truth, curve: Curve, label: int) -> tuple[list[Mistake], Floats]:
    """Objects that nothing found, and of each that counts: side, found or not, found at best F1.

    The side ``(G, 3)`` is the root of the area.
    """
    counting = (~truth.difficult).nonzero()[0]
    rank = np.full(len(truth.image), np.inf)
    rank[curve.object[curve.tp]] = curve.tp.nonzero()[0]
    f1 = 2 * curve.precision * curve.recall / np.maximum(curve.precision + curve.recall, 1e-12)
    best = int(f1.argmax()) if len(f1) and curve.positives else -1
    sides = np.sqrt([_area(tuple(box)) for box in truth.box[counting].tolist()])
    table = np.column_stack([sides, np.isfinite(rank[counting]), rank[counting] <= best])
    missed = [
        Mistake("missed", int(truth.image[i]), label, 0.0, tuple(truth.box[i].tolist()))
        for i in counting
        if not np.isfinite(rank[i])
    ]
    return missed, table


def _by_size(table: Floats, bounds: tuple[float, float]) -> dict[str, Misses]:
    size = np.digitize(table[:, 0], bounds)
    misses = {}
    for number, name in enumerate(SIZES[1:]):
        own = table[size == number]
        found, at_best = own[:, 1].sum(), own[:, 2].sum()
        misses[name] = Misses(len(own), len(own) - int(found), len(own) - int(at_best))
    return misses


def _area(box: tuple[float, ...]) -> float:
    return max((box[2] - box[0] + 1) * (box[3] - box[1] + 1), 0.0)
