"""An image set on which something was detected, ready to be scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from scratchdet_caffe.data.pixels import Pixels
from scratchdet_caffe.metrics import (
    CocoScore,
    InNet,
    Results,
    coco_score,
    coco_score_of,
)


@dataclass(frozen=True)
class Scored:
    """What was found beside what is there, and where both came from.

    Attributes:
        results: Both.
        facts: What ``metrics.json`` says of their origin.
        image_ids: Id of each image in COCO's files.
        category_ids: Id of each class, without the background, in COCO's files.
        coco: Whether the set is COCO's.
        threshold: IoU from which on a detection finds an object.
        in_net: What the net's own DetectionEvaluate said, if a net with that layer ran.
        raw: COCO's instances and detections, if they were read from such files.
        pixels: Returns the picture of an image, by its number; None where there are none.
    """

    results: Results
    facts: dict[str, Any]
    image_ids: Sequence[Any]
    category_ids: Sequence[Any]
    coco: bool
    threshold: float = 0.5
    in_net: InNet | None = None
    raw: tuple[dict[str, Any], list[dict[str, Any]]] | None = None
    pixels: Callable[[int], Pixels] | None = None

    def coco_score(
        self, bounds: tuple[float, float], step: Callable[[float], None] | None = None
    ) -> CocoScore:
        """Return COCO's numbers: of the files themselves, digit for digit, if there are such."""
        if self.raw:
            return coco_score_of(*self.raw, bounds, step=step)
        return coco_score(self.results, bounds, step=step)
