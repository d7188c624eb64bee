"""SSD's own average precision: from the rows of DetectionEvaluate, as SSD-Caffe's solver does.

    accumulator = DetectionAccumulator()
    for _ in range(test_iter):
        accumulator.add(net.forward()["detection_eval"])      # (1, 1, K, 5) or (K, 5)
    result = accumulator.result("11point")
    result.ap[label], result.mean, result.missing

This is the number in the training log. It differs from the devkit's: normalised boxes instead
of pixels, IoU tested in float32, recall compared in float32, and a class that has neither
ground truth nor detections still counts in the mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.errors import UserError, nearest

Floats = npt.NDArray[np.float32]
AP_VERSIONS = ("11point", "MaxIntegral", "Integral")

# Steps of recall up to this size are rounding and add no area.
_RECALL_EPSILON = 1e-6


@dataclass(frozen=True)
class DetectionEvaluation:
    """AP of one pass over a test set.

    Attributes:
        ap: AP by label, for every label that DetectionEvaluate counts (0 where nothing is found).
        missing: Labels without any scored detection; Caffe warns about each.
        mean: Mean over all labels of ``ap``; 0 if there are none.
    """

    ap: dict[int, float]
    missing: tuple[int, ...]
    mean: float


class DetectionAccumulator:
    """Collects the rows of DetectionEvaluate over the batches of a test pass."""

    def __init__(self) -> None:
        self._positives: dict[int, int] = {}
        self._rows: list[Floats] = []

    def add(self, rows: npt.ArrayLike) -> None:
        """Add the output of one batch.

        Args:
            rows: Values of the blob, ``(1, 1, K, 5)`` or ``(K, 5)``: one row
                ``[-1, label, objects, -1, -1]`` per class, then a row
                ``[image, label, score, tp, fp]`` per detection. A detection with tp = fp = 0
                (it matched a difficult object) does not count.

        Raises:
            ValueError: The last axis is not 5.
        """
        table = np.array(rows, np.float32)
        if table.shape[-1] != 5:
            raise ValueError(f"rows of DetectionEvaluate have 5 numbers, not {table.shape}")
        table = table.reshape(-1, 5)
        counts = table[:, 0] == -1
        for _, label, objects, _, _ in table[counts]:
            self._positives[int(label)] = self._positives.get(int(label), 0) + int(objects)
        self._rows.append(table[~counts & (table[:, 3:] != 0).any(axis=1)])

    def result(self, ap_version: str = "Integral") -> DetectionEvaluation:
        """Return the AP of every label and the mean, as the solver's ``ap_version`` asks.

        Raises:
            UserError: ``ap_version`` is not one of `AP_VERSIONS`.
        """
        if ap_version not in AP_VERSIONS:
            raise UserError(
                f"ap_version '{ap_version}' is unknown{nearest(ap_version, AP_VERSIONS)}; "
                f"known are {', '.join(AP_VERSIONS)}"
            )
        rows = np.concatenate([np.empty((0, 5), np.float32), *self._rows])
        ap: dict[int, float] = {}
        missing = []
        for label in sorted(self._positives):
            mine = rows[rows[:, 1] == label]
            if len(mine) == 0:
                missing.append(label)
            ap[label] = average_precision(
                mine[:, 2], mine[:, 3], self._positives[label], ap_version
            )
        mean = _sum(np.array(list(ap.values()), np.float32)) / max(len(ap), 1)
        return DetectionEvaluation(ap, tuple(missing), mean)


def average_precision(score: Floats, hit: Floats, positives: int, version: str) -> float:
    """AP of one class in float32 from scores ``(D,)`` and hits ``(D,)`` (1 true, 0 false)."""
    if len(score) == 0 or positives == 0:
        return 0.0
    true = np.cumsum(hit[np.argsort(-score, kind="stable")])
    precision: Floats = (true / np.arange(1, len(true) + 1)).astype(np.float32)
    recall: Floats = (true / positives).astype(np.float32)
    if version == "11point":
        # The recall is a float32, the eleven points are doubles: 0.7f lies below 0.7.
        reached = [precision[recall.astype(np.float64) >= j / 10.0] for j in range(10, -1, -1)]
        best = np.array([p.max(initial=0) for p in reached], np.float32)
        return _sum(best / np.float32(11))
    step = np.diff(recall, prepend=np.float32(0))
    step[step <= _RECALL_EPSILON] = 0
    if version == "MaxIntegral":
        # Best precision at this recall or a higher one, added up from the far end.
        return _sum(np.maximum.accumulate(precision[::-1]) * step[::-1])
    return _sum(precision * step)


def _sum(values: Floats) -> float:
    """Sum in float32 from left to right, as a loop does (numpy's own sum goes pairwise)."""
    running: Floats = np.cumsum(values, dtype=np.float32)
    return float(running[-1]) if len(running) else 0.0
