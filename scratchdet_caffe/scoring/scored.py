"""An image set on which something was detected, and all that can be said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scratchdet_caffe.cli import progress
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.metrics import (
    BOUNDS,
    CocoScore,
    Diagnosis,
    InNet,
    Results,
    coco_score,
    coco_score_of,
    coco_summary,
    diagnose,
    errors_summary,
    explain,
    parse_groups,
    summary,
    write_coco_results,
    write_detection_files,
    write_results,
)
from scratchdet_caffe.metrics.detection_files import PREFIX
from scratchdet_caffe.scoring.truth import GroundTruth

COCO_FILE = "coco_results.json"


@dataclass(frozen=True)
class Scored:
    """What was found beside what is there, and where both came from.

    Attributes:
        results: Both.
        truth: What is there.
        facts: What ``metrics.json`` says of their origin.
        threshold: IoU from which on a detection finds an object.
        in_net: What the net's own DetectionEvaluate said, if a net with that layer ran.
        raw: COCO's instances and detections, if they were read from such files.
        from_files: Whether the detections were read from files.
        written_by_net: Folder and prefix of the files that the net itself has written.
    """

    results: Results
    truth: GroundTruth
    facts: dict[str, Any]
    threshold: float = 0.5
    in_net: InNet | None = None
    raw: tuple[dict[str, Any], list[dict[str, Any]]] | None = None
    from_files: bool = False
    written_by_net: tuple[Path, str] | None = None

    def coco_score(
        self, bounds: tuple[float, float], step: Callable[[float], None] | None = None
    ) -> CocoScore:
        """Return COCO's numbers: of the files themselves, digit for digit, if there are such."""
        if self.raw:
            return coco_score_of(*self.raw, bounds, step=step)
        return coco_score(self.results, bounds, step=step)


def numbers_of(
    scored: Scored,
    coco: bool = False,
    all_rules: bool = False,
    bounds: tuple[float, float] | None = None,
    similar: str = "",
) -> tuple[dict[str, Any], Diagnosis]:
    """Score by all that is asked for.

    Args:
        scored: What to score.
        coco: COCO's numbers, too; a set of COCO's has them in any case, and so has one for which
            ``bounds`` or ``all_rules`` are asked.
        all_rules: All rules side by side, and each step between.
        bounds: Sides in pixels at which medium and large objects begin.
        similar: Groups of similar classes, ``a,b;c,d``.

    Returns:
        What ``metrics.json`` says of the scores, and the errors one by one.

    Raises:
        UserError: A name in ``similar`` is no class, or COCO has no such threshold.
    """
    results, in_net = scored.results, scored.in_net
    groups = parse_groups(similar, results.classes[1:]) if similar else None
    whole, version = (in_net.whole, in_net.version) if in_net else (None, "11point")
    numbers = summary(results, scored.threshold, whole, version)
    if coco or all_rules or bounds or scored.truth.coco:
        with progress("COCO's numbers") as step:
            score = scored.coco_score(bounds or BOUNDS, step)
        numbers["coco"] = coco_summary(score)
        if all_rules:
            if not np.isclose(score.iou, scored.threshold).any():
                raise UserError(
                    "--all-rules compares with COCO, whose overlaps are 0.5, 0.55, ..., 0.95: "
                    f"{scored.threshold:g} is none of them"
                )
            zero_based = scored.truth.coco
            numbers["all_rules"] = explain(results, score, scored.threshold, in_net, zero_based)
    diagnosis = diagnose(results, bounds or BOUNDS, groups, scored.threshold)
    numbers["errors"] = errors_summary(diagnosis)
    return numbers, diagnosis


def write_found(scored: Scored, out: Path, coco: bool) -> None:
    """Write what was found: for our tools, and, of a net, for those of VOC and COCO.

    Args:
        scored: What was found.
        out: The folder; it gets ``detections.json``, and ``comp4_det_test_<class>.txt`` unless
            the net has written these itself.
        coco: Whether to write COCO's results JSON.
    """
    results, truth = scored.results, scored.truth
    write_results(out / "detections.json", results)
    if scored.from_files:
        return
    last = out / f"{PREFIX}{results.classes[-1]}.txt"
    if not (scored.written_by_net == (out, PREFIX) and last.exists()):
        found = {name: detections for name, (detections, _) in results.by_class().items()}
        write_detection_files(out, [image.name for image in results.images], found)
    if coco:
        write_coco_results(out / COCO_FILE, results, truth.image_ids, truth.category_ids)
