"""VOC average precision: what must hold for any detections."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scratchdet_caffe.metrics import (
    SSD,
    VOC_PIXEL,
    Detections,
    Rule,
    Truth,
    ap_11point,
    ap_area,
    match,
    mean_ap,
    overlap,
)


def test_class_without_objects_is_left_out_of_the_mean() -> None:
    assert mean_ap({"a": 1.0, "b": None, "c": 0.0}) == 0.5
    assert mean_ap([None]) is None


def test_a_voc_sized_set_is_scored_in_seconds() -> None:
    rng = np.random.default_rng(0)
    count = 4952 * 10  # detections of one class: ten in each picture of VOC 2007 test
    corner = rng.uniform(1, 300, (count, 2))
    box = np.hstack([corner, corner + rng.uniform(10, 200, (count, 2))])
    found = Detections(rng.integers(0, 4952, count), rng.random(count), box)
    truth = Truth(found.image[::20], box[::20] + 3, np.zeros(len(box[::20]), bool))
    started = time.perf_counter()
    assert ap_area(match(found, truth)) > 0
    assert time.perf_counter() - started < 2


boxes = hnp.arrays(float, st.tuples(st.integers(0, 12), st.just(4)), elements=st.integers(1, 12))


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Detections, Truth]:
    """A few small boxes in three images, so that overlaps and taken objects are common."""
    det, gt = draw(boxes), draw(boxes)
    det[:, 2:] += det[:, :2]
    gt[:, 2:] += gt[:, :2]
    images = st.integers(0, 2)
    scores = draw(st.permutations(range(len(det))))
    return (
        Detections(draw(hnp.arrays(int, len(det), elements=images)), np.array(scores, float), det),
        Truth(
            draw(hnp.arrays(int, len(gt), elements=images)),
            gt,
            draw(hnp.arrays(bool, len(gt))),
        ),
    )


@given(scenes(), st.sampled_from([VOC_PIXEL, SSD]), st.floats(0.1, 0.9))
def test_bounds_and_counts(scene: tuple[Detections, Truth], rule: Rule, threshold: float) -> None:
    detections, truth = scene
    curve = match(detections, truth, rule, threshold)
    assert curve.tp.sum() <= curve.positives
    assert not (curve.tp & curve.fp).any()
    for average in (ap_11point, ap_area):
        ap = average(curve)
        assert (ap is None) == (curve.positives == 0)
        assert ap is None or 0 <= ap <= 1 + 1e-12
    if curve.positives:
        assert (np.diff(curve.recall) >= 0).all()


@given(scenes(), st.randoms(use_true_random=False))
def test_blind_to_the_order_of_detections(scene: tuple[Detections, Truth], random: Any) -> None:
    """With distinct scores, the order of lines in a file does not matter."""
    detections, truth = scene
    order = list(range(len(detections.score)))
    random.shuffle(order)
    shuffled = Detections(*(part[order] for part in vars(detections).values()))
    assert ap_area(match(shuffled, truth)) == ap_area(match(detections, truth))


@given(scenes())
def test_a_false_alarm_never_helps_and_the_truth_itself_scores_one(
    scene: tuple[Detections, Truth],
) -> None:
    detections, truth = scene
    before = ap_area(match(detections, truth))
    elsewhere = Detections(
        np.append(detections.image, 9),
        np.append(detections.score, 0.5),
        np.vstack([detections.box, [1, 1, 5, 5]]),
    )
    after = ap_area(match(elsewhere, truth))
    assert before is None or after <= before + 1e-12  # type: ignore[operator]
    # Distinct objects found by themselves.
    _, keep = np.unique(np.column_stack([truth.image, truth.box]), axis=0, return_index=True)
    alone = Truth(truth.image[keep], truth.box[keep], truth.difficult[keep])
    perfect = Detections(alone.image, np.ones(len(keep)), alone.box)
    best = ap_area(match(perfect, alone))
    assert best is None if alone.difficult.all() else best == pytest.approx(1)


@given(scenes())
def test_overlap_is_symmetric_and_bounded(scene: tuple[Detections, Truth]) -> None:
    a, b = scene[0].box, scene[1].box
    count = min(len(a), len(b))
    for border in (0.0, 1.0):
        iou = overlap(a[:count], b[:count], border)
        assert np.array_equal(iou, overlap(b[:count], a[:count], border))
        assert ((iou >= 0) & (iou <= 1)).all()
        assert (overlap(a, a, border) == 1).all()
