"""TRAIN-phase augmentation against the reference's distributions (golden/data/draws).

Draws cannot be matched one by one, so distributions are compared, pooled over the reference's
two independent runs: histograms by their largest cumulative difference (Kolmogorov), shares and
means directly, boxes per draw by standard errors. The tolerances are those of the goldens.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_prototxt
from scratchdet_caffe.data import Batches

KOLMOGOROV = 0.06
SHARE = 0.04
STANDARD_ERRORS = 4
# A picture taken whole has one mean, which may lie on the edge of a bin: the reference encodes
# it as JPEG once more, which moves it by hundredths of a grey level.
NUDGES = [-0.05, 0.0, 0.05]
QUICK = ["expand_only_ramp", "mirror_only_ramp", "ssd_full_ramp"]
SLOW = ["ssd_full", "sampler_only", "sampler_no_emit", "distort_only", "distort_random_order"]


class Draws:
    """As many draws of a case as the reference made, reduced as the goldens are."""

    def __init__(self, folder: Path, case: str, draws: int) -> None:
        layer = read_prototxt(folder / f"{case}.prototxt", pb.NetParameter).layer[0]
        self.values: dict[str, list[float]] = {}
        self.counts: list[int] = []
        self.mirrored: list[bool] = []
        with Batches(layer, pb.TRAIN, seed=11) as batches:
            while len(self.counts) < draws:
                data, label = batches.next()
                for item, picture in enumerate(data):
                    self._add(picture, label[0, 0][label[0, 0, :, 0] == item])

    def _add(self, picture: np.ndarray, rows: np.ndarray) -> None:
        self.counts.append(len(rows))
        xmin, ymin, xmax, ymax = rows[:, 3:7].T
        found = {
            "box_width": xmax - xmin,
            "box_height": ymax - ymin,
            "box_center_x": (xmin + xmax) / 2,
            "box_center_y": (ymin + ymax) / 2,
            "filled_fraction": [(np.abs(picture).max(axis=0) <= 4).mean()],
        }
        for channel, letter in enumerate("bgr"):
            found[f"draw_mean_{letter}"] = [picture[channel].mean()]
            found[f"draw_std_{letter}"] = [picture[channel].std()]
        whole = rows[rows[:, 1] == 1]
        if len(whole) == 1:
            found["one_over_width_of_the_whole_image_box"] = 1 / (whole[:, 5] - whole[:, 3])
        for name, values in found.items():
            self.values.setdefault(name, []).extend(map(float, values))
        # The ramp grows brighter to the right.
        columns = picture.sum(axis=(0, 1))
        self.mirrored.append(bool(np.polyfit(np.arange(len(columns)), columns, 1)[0] < 0))


def pooled(folder: Path, case: str) -> list[dict[str, Any]]:
    names = ("distributions.json", "distributions_seed2.json")
    return [json.loads((folder / name).read_text())[case] for name in names]


def histogram_distance(values: list[float], runs: list[dict[str, Any]], by: float) -> float:
    low, high = runs[0]["hist"]["lo"], runs[0]["hist"]["hi"]
    theirs = sum(np.array(run["hist"]["counts"], float) for run in runs)
    inside = np.clip(np.add(values, by), low, np.nextafter(high, low))
    ours, _ = np.histogram(inside, bins=len(theirs), range=(low, high))
    difference = np.cumsum(ours / ours.sum()) - np.cumsum(theirs / theirs.sum())
    return float(np.abs(difference).max())


def mean_difference(values: list[float], runs: list[dict[str, Any]], nudge: float) -> float:
    """Return the difference of the means of a number per draw, in its standard errors.

    This compares the moments of all pixels too: their mean is the mean over the draws. A
    difference up to ``nudge`` does not count.
    """
    theirs = np.mean([run["mean"] for run in runs])
    error = np.std(values) * math.sqrt(1 / len(values) + 1 / sum(run["n"] for run in runs))
    difference = max(abs(float(np.mean(values)) - float(theirs)) - nudge, 0)
    return difference / max(float(error), 1e-6)


def boxes_per_draw_difference(counts: list[int], runs: list[dict[str, Any]]) -> float:
    """Return the difference of the means in its standard errors."""
    n, records = len(counts), runs[0]["records_in_lmdb"]
    by_record = [np.mean(counts[record::records]) for record in range(records)]
    variance = max(np.var(counts) - np.var(by_record), 1e-12)
    theirs = np.mean([run["boxes_per_draw_mean"] for run in runs])
    error = math.sqrt(variance / n + variance / (n * len(runs)))
    return abs(float(np.mean(counts)) - float(theirs)) / max(error, 1e-6)


@pytest.mark.parametrize(
    "case", [*QUICK, *(pytest.param(case, marks=pytest.mark.slow) for case in SLOW)]
)
def test_distributions_agree(case: str, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shared / "golden/data")
    folder = shared / "golden/data/draws"
    runs = pooled(folder, case)
    ours = Draws(folder, case, runs[0]["draws"])
    wrong = []
    for name, values in ours.values.items():
        if name in runs[0]:
            nudges = NUDGES if name.startswith("draw_") else [0.0]
            histograms = [run[name] for run in runs]
            distance = min(histogram_distance(values, histograms, by) for by in nudges)
            if distance > KOLMOGOROV:
                wrong.append(f"{name}: Kolmogorov distance {distance:.3f}")
            if name.startswith(("draw_", "filled")):
                errors = mean_difference(values, histograms, max(nudges))
                if errors > STANDARD_ERRORS:
                    wrong.append(f"mean of {name}: {errors:.1f} standard errors")
    if (errors := boxes_per_draw_difference(ours.counts, runs)) > STANDARD_ERRORS:
        wrong.append(f"boxes per draw: {errors:.1f} standard errors")
    filled = np.mean(np.array(ours.values["filled_fraction"]) > 0.05)
    theirs = np.mean([run["share_of_draws_filled_more_than_5_percent"] for run in runs])
    if abs(filled - theirs) > SHARE:
        wrong.append(f"share of draws with canvas: {filled:.3f}, reference {theirs:.3f}")
    if "mirrored" in runs[0]:
        share, theirs = (
            np.mean(ours.mirrored),
            np.mean([run["mirrored"]["share"] for run in runs]),
        )
        if abs(share - theirs) > SHARE:
            wrong.append(f"share of mirrored draws: {share:.3f}, reference {theirs:.3f}")
    assert not wrong
