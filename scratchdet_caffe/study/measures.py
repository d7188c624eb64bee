"""What a scored cell measured, in the words and units of its table."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from scratchdet_caffe.files import read_text
from scratchdet_caffe.metrics import AREA, ELEVEN_POINT
from scratchdet_caffe.report.log import read_log

_COCO = {
    "ap": "AP", "ap50": "AP50", "ap75": "AP75",
    "aps": "APsmall", "apm": "APmedium", "apl": "APlarge",
}  # fmt: skip
_LAST_LOSSES = 10  # displayed ones; each is a mean over average_loss iterations


def measure(job: Path, results: Path, wanted: Iterable[str]) -> dict[str, float | None]:
    """Return the measures ``wanted``, APs in percent, as far as anything here measures them.

    Args:
        job: Folder with ``train.log``.
        results: Folder that ``evaluate --coco`` wrote.
        wanted: Words of a table's measures: ``map`` (VOC 2007, 11-point), ``map12`` (VOC 2012,
            area), COCO's ``ap`` .. ``apl``, or ``loss`` (training loss at the end).
    """
    metrics = json.loads(read_text(results / "metrics.json"))
    shares = {"map": metrics["map"][ELEVEN_POINT], "map12": metrics["map"][AREA]}
    shares |= {word: metrics["coco"]["map"][name] for word, name in _COCO.items()}
    found = {word: None if share is None else 100 * share for word, share in shares.items()}
    wanted = list(wanted)
    if "loss" in wanted:
        found["loss"] = float(np.mean(read_log(job / "train.log").loss.value[-_LAST_LOSSES:]))
    return {word: found[word] for word in wanted if word in found}
