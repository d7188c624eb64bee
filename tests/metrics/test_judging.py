"""Every rule of `judge` against the program whose rule it is."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchdet_caffe.engine.detection import evaluate as layer
from scratchdet_caffe.engine.detection.pixels import pixel_overlap, to_pixels
from scratchdet_caffe.metrics import (
    AP_VERSIONS,
    DetectionAccumulator,
    ImageResult,
    InNet,
    Results,
    ap_area,
    coco_score,
    diagnose,
    explain,
    match,
    mean_ap,
    read_detection_file,
    score,
)
from scratchdet_caffe.metrics.all_rules import AP
from scratchdet_caffe.metrics.caffe_files import FileRows, voc_files
from scratchdet_caffe.metrics.judging import Judging, judge

CLASSES = ("background", "cat", "dog", "owl")
WIDTH, HEIGHT = 64, 48
few = settings(max_examples=40)
COCO = Judging(inclusive=True, free=True, crowds=True, most=100, average="101-point")

# Coordinates of a coarse grid, so that equal overlaps and overlaps of exactly 1/2 are common.
corner = st.tuples(st.integers(0, 9), st.integers(0, 7), st.integers(1, 6), st.integers(1, 6))
box = corner.map(lambda c: [6 * c[0] + 1, 6 * c[1] + 1, 6 * (c[0] + c[2]), 6 * (c[1] + c[3])])
scored = st.tuples(st.integers(1, 3), st.integers(1, 12), box)
detections = st.lists(scored.map(lambda d: [d[0], d[1] / 16, *d[2]]), max_size=8)
truths = st.lists(
    st.tuples(st.integers(1, 2), st.integers(0, 1), box).map(lambda t: [t[0], t[1], *t[2]]),
    max_size=5,
)


def image(found: list[Any], there: list[Any], crowds: bool = False) -> ImageResult:
    """An image; with ``crowds`` its difficult objects are crowds."""
    tables = [np.array(rows, float).reshape(-1, 6) for rows in (found, there)]
    crowd = tables[1][:, 1].copy() if crowds else None
    return ImageResult("a", WIDTH, HEIGHT, *tables, crowd=crowd)


scenes = st.lists(st.builds(image, detections, truths, st.booleans()), min_size=1, max_size=3).map(
    lambda images: Results(CLASSES, images)
)


@few
@given(scenes)
def test_the_plain_rule_is_the_devkits(results: Results) -> None:
    own = score(results)
    for average, name in (("11-point", "ap_11point"), ("area", "ap_area")):
        judged = judge(results, Judging(average=average))
        for cls, verdicts in judged.classes.items():
            assert verdicts.ap == pytest.approx(getattr(own[cls], name), abs=1e-12)
        assert judged.mean == mean_ap(getattr(one, name) for one in own.values())


@few
@given(scenes, st.sampled_from([0.5, 0.75]))
def test_cocos_rule_is_pycocotools(results: Results, iou: float) -> None:
    judged, coco = judge(results, COCO, iou), coco_score(results)
    for cls, verdicts in judged.classes.items():
        assert verdicts.ap == pytest.approx(coco.ap(iou, label=cls), abs=1e-9), cls
    assert judged.mean == pytest.approx(coco.ap(iou), abs=1e-9)


def no_exact_overlaps(results: Results) -> Results:
    """Narrower detections: whether an overlap is 1/2 hangs on how float32 rounds a division."""
    less = np.array([0, 0, 0, 0, 0.25, 0])
    images = [replace(own, detections=own.detections - less) for own in results.images]
    return Results(results.classes, images)


def in_net(results: Results, pixels: bool, difficult: bool) -> DetectionAccumulator:
    """What DetectionEvaluate of the embedded engine says of the same."""
    size = np.array([WIDTH, HEIGHT] * 2)
    found, there = [], []
    for item, own in enumerate(results.images):
        found += [[item, *row[:2], *row[2:] / size] for row in own.detections]
        there += [[item, row[0], 0, *row[2:] / size, row[1]] for row in own.truth]

    def measure(detected: torch.Tensor, true: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        sizes = torch.tensor([float(HEIGHT), float(WIDTH)])
        a, b = (to_pixels(boxes, sizes, None) for boxes in (detected, true))
        return pixel_overlap(a[:, None], b, None)

    rows = layer.evaluate(
        torch.tensor(np.array(found).reshape(-1, 7), dtype=torch.float32),
        torch.tensor(np.array(there).reshape(-1, 8), dtype=torch.float32),
        layer.Rules(len(CLASSES), 0, 0.5, difficult),
        measure if pixels else layer.normalized_overlap,
    )
    accumulator = DetectionAccumulator()
    accumulator.add(rows.numpy())
    return accumulator


@few
@given(scenes, st.booleans(), st.booleans(), st.sampled_from(AP_VERSIONS))
def test_the_logs_rule_is_detection_evaluate(
    results: Results, pixels: bool, difficult: bool, version: str
) -> None:
    results = no_exact_overlaps(results)
    how = Judging(
        boxes="clipped" if pixels else "normalised", border=float(pixels), inclusive=True,
        single=True, count_difficult=difficult, average=f"ssd {version}", empty_is_zero=True,
    )  # fmt: skip
    theirs = in_net(results, pixels, difficult).result(version)
    judged = judge(results, how)
    assert [own.ap or 0.0 for own in judged.classes.values()] == pytest.approx(
        list(theirs.ap.values()), abs=1e-6
    )
    assert judged.mean == pytest.approx(theirs.mean, abs=1e-6)


def test_whole_pixels_are_those_of_the_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(-5, 50, (300, 2))
    boxes = np.round(np.hstack([corners, corners + rng.uniform(3, 30, (300, 2))]), 2)
    found = np.column_stack([np.ones(300), rng.random(300).astype(np.float32), boxes])
    there = np.array([[1, 0, *np.round(row)] for row in np.clip(boxes[::5] + 1, 1, 64)])
    results = Results(CLASSES, [image(found.tolist(), there.tolist())])
    pixels = to_pixels(
        torch.tensor(boxes / ([WIDTH, HEIGHT] * 2)),
        torch.tensor([float(HEIGHT), float(WIDTH)]),
        None,
    ).float()
    rows = FileRows(["a"] * 300, np.ones(300, int), found[:, 1].astype(np.float32), pixels.numpy())
    (tmp_path / "cat.txt").write_text(voc_files(rows, {1: "cat"})["cat"])
    read = read_detection_file(tmp_path / "cat.txt", ["a"])
    ap = ap_area(match(read, results.by_class()["cat"][1]))
    judged = judge(results, Judging(boxes="whole", average="area"))
    assert 0.05 < judged.classes["cat"].ap < 0.95
    assert judged.classes["cat"].ap == pytest.approx(ap, abs=1e-12)


def test_each_step_says_what_it_moves() -> None:
    results = Results(
        CLASSES,
        [
            # A hit, and at an overlap of exactly 1/2 another; a second choice; a difficult object.
            image([[1, 0.9, 1, 1, 20, 20], [1, 0.8, 31, 1, 50, 10]],
                  [[1, 0, 1, 1, 20, 20], [1, 0, 31, 1, 50, 20]]),
            image([[2, 0.9, 1, 1, 30, 30], [2, 0.8, 4, 4, 30, 30]],
                  [[2, 0, 1, 1, 30, 30], [2, 0, 8, 8, 33, 33], [2, 1, 50, 1, 60, 10]]),
        ],
    )  # fmt: skip
    said = explain(results, coco_score(results))
    steps = {step["change"].split(":")[0]: step for way in said["ways"].values() for step in way}
    exceeds = steps["an overlap must exceed the threshold (>, not >=)"]
    assert (exceeds["detections"], exceeds["objects"]) == (1, 1)
    free = next(step for change, step in steps.items() if "nearest object is taken" in change)
    assert (free["detections"], free["objects"]) == (1, 1)
    empty = steps["classes without objects are left out of the mean"]
    assert empty["difference"] == pytest.approx(empty["mean"] / 3)  # no owl is there
    assert all(abs(value) < 1e-9 for value in said["unexplained"].values())
    for way in said["ways"].values():
        for before, after in pairwise(way):
            assert after["mean"] - before["mean"] == pytest.approx(after["difference"])


@few
@given(scenes)
def test_nothing_is_left_unexplained(results: Results) -> None:
    results = no_exact_overlaps(results)
    rows = in_net(results, True, False).result("11point")
    net = InNet(rows, rows, 0, True, False, "11point")
    said = explain(results, coco_score(results), in_net=net)
    assert all(abs(value) < 1e-6 for value in said["unexplained"].values())
    assert said["numbers"][AP] == coco_score(results).ap()


def test_crowds_are_a_step() -> None:
    """Two detections inside a crowd are wrong by VOC's rule, and left out by COCO's."""
    found = [[1, 0.9, 2, 2, 9, 9], [1, 0.8, 20, 2, 29, 9], [1, 0.7, 41, 1, 50, 10]]
    there = [[1, 1, 1, 1, 40, 40], [1, 0, 41, 1, 50, 10]]
    results = Results(CLASSES, [image(found, there, crowds=True)])
    said = explain(results, coco_score(results))
    steps = {step["change"]: step for step in said["ways"]["voc-pixel 11-point, to COCO"]}
    crowd = steps["a detection is on a crowd by the share of itself that lies inside"]
    assert (crowd["detections"], crowd["objects"]) == (2, 0)
    assert (crowd["mean"], crowd["difference"]) == (1, pytest.approx(2 / 3))
    assert all(abs(value) < 1e-9 for value in said["unexplained"].values())
    # Nor are they errors.
    assert diagnose(results, (32, 96)).totals["background"] == 0
    difficult = Results(CLASSES, [image(found, there)])
    assert "by the share of itself" not in str(explain(difficult, coco_score(difficult))["ways"])
    totals = diagnose(difficult, (32, 96)).totals
    assert totals["background"] + totals["localisation"] == 1


def test_images_counted_twice_are_a_step() -> None:
    results = Results(CLASSES, [image([[1, 0.9, 1, 1, 20, 20]], [[1, 0, 1, 1, 20, 20]])])
    once = in_net(results, True, False)
    twice = in_net(
        Results(CLASSES, [*results.images, image([], [[1, 0, 1, 1, 9, 9]])]), True, False
    )
    net = InNet(twice.result("11point"), once.result("11point"), 1, True, False, "11point")
    said = explain(results, coco_score(results), in_net=net)
    first = said["ways"]["detection_eval 11point"][0]
    assert "1 images that the last batch wraps around to" in first["change"]
    assert first["difference"] == pytest.approx((1 - 6 / 11) / 3)
