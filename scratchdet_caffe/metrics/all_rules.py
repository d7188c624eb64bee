"""From the number of the training log to VOC's, to the files' and to COCO's, step by step."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from scratchdet_caffe.metrics.coco import CocoScore
from scratchdet_caffe.metrics.detection_evaluate import DetectionEvaluation
from scratchdet_caffe.metrics.judging import Judged, Judging, judge
from scratchdet_caffe.metrics.results import Results
from scratchdet_caffe.metrics.summary import AREA, ELEVEN_POINT

FILES = "files 11-point"
AP = "COCO AP"


@dataclass(frozen=True)
class Step:
    """One change of rule and what it does.

    Attributes:
        after: The name of the number that is reached, if it has one.
        change: What changes.
        mean: The mAP afterwards.
        difference: To the mAP before.
        detections: How many detections get another verdict.
        objects: How many objects are found, missed or counted otherwise.
    """

    after: str
    change: str
    mean: float | None
    difference: float
    detections: int
    objects: int


@dataclass(frozen=True)
class InNet:
    """What the net's own DetectionEvaluate said, and how it measures.

    Attributes:
        whole: Its number, as in the training log.
        once: Its number if every image is counted once.
        surplus: How many images a last batch counted twice.
        in_pixels: Whether it measures in pixels (it has a ``name_size_file``).
        count_difficult: Whether difficult objects count.
        version: The solver's ``ap_version``.
    """

    whole: DetectionEvaluation
    once: DetectionEvaluation
    surplus: int
    in_pixels: bool
    count_difficult: bool
    version: str


class _Ladder:
    """Steps that start from one judging and change a respect at a time."""

    def __init__(self, results: Results, how: Judging, threshold: float, zero_based: bool) -> None:
        self.results, self.threshold, self.zero_based = results, threshold, zero_based
        self.how, self.judged = how, self._judge(how)
        self.steps: list[Step] = []

    def _judge(self, how: Judging) -> Judged:
        return judge(self.results, how, self.threshold, self.zero_based)

    def change(self, why: str, after: str = "", **respects: Any) -> None:
        """Take a step; nothing where the rule is that already."""
        how = replace(self.how, **respects)
        if how != self.how:
            judged = self._judge(how)
            difference = (judged.mean or 0.0) - (self.judged.mean or 0.0)
            moved = judged.moved(self.judged)
            self.steps.append(Step(after, why, judged.mean, difference, *moved))
            self.how, self.judged = how, judged
        elif after and self.steps:
            self.steps[-1] = replace(self.steps[-1], after=after)

    def branch(self) -> _Ladder:
        """A ladder that starts where this one stands."""
        other = object.__new__(_Ladder)
        other.__dict__ = {**self.__dict__, "steps": []}
        return other


def explain(
    results: Results,
    coco: CocoScore,
    threshold: float = 0.5,
    in_net: InNet | None = None,
    zero_based: bool = False,
) -> dict[str, Any]:
    """Score ``results`` by all rules, and explain the way between the numbers.

    Args:
        results: What was found beside what is there.
        coco: pycocotools' numbers of the same.
        threshold: IoU from which on a detection finds an object; one of ``coco.iou``.
        in_net: What the net itself said; None if no net ran, or none with DetectionEvaluate.
        zero_based: Whether the net's coordinates begin at 0, as COCO's do.

    Returns:
        ``numbers``: the mAP by name; ``ways``: lists of steps, each way from the number before
        to the named ones; ``unexplained``: what is left between the end of a way and the number
        that the other program gives (0 but for rounding).
    """
    version = in_net.version if in_net else "11point"
    start = Judging(
        boxes="clipped" if not in_net or in_net.in_pixels else "normalised",
        border=1.0 if not in_net or in_net.in_pixels else 0.0,
        inclusive=True,
        single=True,
        count_difficult=bool(in_net and in_net.count_difficult),
        average=f"ssd {version}",
        empty_is_zero=True,
    )
    ladder = _Ladder(results, start, threshold, zero_based)
    log = f"detection_eval {version}"
    numbers: dict[str, float | None] = {log: ladder.judged.mean}
    first: list[Step] = []
    unexplained = {}
    if in_net:
        numbers = {log: in_net.whole.mean}
        first = _from_the_log(in_net)
        unexplained[log] = (ladder.judged.mean or 0.0) - in_net.once.mean
    _to_voc(ladder)
    numbers[ELEVEN_POINT] = ladder.judged.mean
    files = ladder.branch()
    files.change(
        "boxes cut to whole pixels and scores to six digits, as DetectionOutput writes them",
        FILES, boxes="whole",
    )  # fmt: skip
    numbers[FILES] = files.judged.mean
    to_coco, one = ladder.branch(), f"{AP}{100 * threshold:.0f}"
    _to_coco(to_coco, one)
    numbers[AREA] = next(step.mean for step in to_coco.steps if step.after == AREA)
    numbers[one], numbers[AP] = coco.ap(threshold), coco.ap()
    unexplained[one] = (numbers[one] or 0.0) - (to_coco.judged.mean or 0.0)
    mean_iou = Step(
        AP, "the mean over ten overlaps from 0.5 to 0.95", numbers[AP],
        (numbers[AP] or 0.0) - (numbers[one] or 0.0), 0, 0,
    )  # fmt: skip
    ways = {
        log: first + ladder.steps,
        f"{ELEVEN_POINT}, in files": files.steps,
        f"{ELEVEN_POINT}, to COCO": [*to_coco.steps, mean_iou],
    }
    return {
        "numbers": numbers,
        "ways": {name: [asdict(step) for step in steps] for name, steps in ways.items()},
        "unexplained": unexplained,
    }


def _from_the_log(in_net: InNet) -> list[Step]:
    if not in_net.surplus:
        return []
    why = f"{in_net.surplus} images that the last batch wraps around to are counted once"
    difference = in_net.once.mean - in_net.whole.mean
    return [Step("", why, in_net.once.mean, difference, 0, 0)]


def _to_voc(ladder: _Ladder) -> None:
    ladder.change("overlaps in double precision", single=False)
    ladder.change(
        "precision and recall in double precision; 11 points 0, 0.1, ..., 1", average="11-point"
    )
    ladder.change("classes without objects are left out of the mean", empty_is_zero=False)
    ladder.change("difficult objects are ignored", count_difficult=False)
    if ladder.how.boxes == "normalised":
        ladder.change("pixels, both ends of a side inside (+1)", boxes="exact", border=1.0)
    ladder.change("boxes are not cut at the picture's border", boxes="exact")
    ladder.change("an overlap must exceed the threshold (>, not >=)", ELEVEN_POINT, inclusive=False)


def _to_coco(ladder: _Ladder, name: str) -> None:
    ladder.change("the area under the curve instead of 11 points", AREA, average="area")
    ladder.change("an overlap of exactly the threshold is enough (>=)", inclusive=True)
    ladder.change(
        "a detection whose nearest object is taken may find another; objects that count come "
        "before difficult ones",
        free=True,
    )
    if any(image.crowd is not None and image.crowd.any() for image in ladder.results.images):
        ladder.change(
            "a detection is on a crowd by the share of itself that lies inside", crowds=True
        )
    ladder.change("only the best 100 detections of an image and class count", most=100)
    ladder.change("101 points of recall instead of the area", name, average="101-point")
