"""Box voting and soft suppression, on cases done by hand and against the plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchdet_caffe.metrics import overlap
from scratchdet_caffe.scoring.merging import soft_suppress, vote

A = [1, 1, 10, 10]
NEAR_A = [1, 1, 10, 8]  # overlaps A by 0.8
FAR = [31, 31, 40, 40]


def rows(*detections: tuple[float, list[int]]) -> np.ndarray:
    return np.array([[score, *box] for score, box in detections], float).reshape(-1, 5)


def test_voters_become_their_mean_by_score() -> None:
    merged = vote(rows((0.3, NEAR_A), (0.5, FAR), (0.9, A)))
    assert merged[:, 0].tolist() == [0.9, 0.5]
    assert merged[0, 1:].tolist() == pytest.approx([1, 1, 10, (0.9 * 10 + 0.3 * 8) / 1.2])
    assert merged[1, 1:].tolist() == FAR


def test_voting_begins_at_an_overlap_of_045() -> None:
    # Of 20 x 20 pixels, 20 x 9 inside: an overlap of exactly 0.45.
    exact = vote(rows((0.9, [1, 1, 20, 20]), (0.8, [1, 1, 20, 9])))
    assert len(exact) == 1
    assert len(vote(rows((0.9, [1, 1, 100, 100]), (0.8, [1, 1, 100, 44])))) == 2


def test_soft_voting_leaves_what_the_best_does_not_explain() -> None:
    half = [1, 1, 10, 5]  # overlaps A by 0.5
    merged = vote(rows((0.9, A), (0.8, half)), soft=0.3)
    assert merged[:, 0].tolist() == pytest.approx([0.9, 0.4])
    assert merged[1, 1:].tolist() == half
    # Below the least score it goes; a lone detection stays whatever its score.
    assert vote(rows((0.9, A), (0.8, half)), soft=0.5)[:, 0].tolist() == [0.9]
    assert vote(rows((0.1, A)), soft=0.5)[:, 0].tolist() == pytest.approx([0.1])


def test_soft_suppression_lowers_scores() -> None:
    third = [1, 1, 10, 3]  # overlaps A by 0.3: not above
    linear = soft_suppress(rows((0.9, A), (0.8, NEAR_A), (0.7, third), (0.6, FAR)), "linear", 0.01)
    assert linear[:, 0].tolist() == pytest.approx([0.9, 0.7, 0.6, 0.8 * 0.2 * (1 - 0.375)])
    assert linear[3, 1:].tolist() == NEAR_A  # lowered by A, then by the third, 3/8
    gaussian = soft_suppress(rows((0.9, A), (0.8, NEAR_A)), "gaussian", 0.01)
    assert gaussian[:, 0].tolist() == pytest.approx([0.9, 0.8 * np.exp(-0.64 / 0.5)])
    assert len(soft_suppress(rows((0.9, A), (0.8, NEAR_A)), "linear", 0.5)) == 1


def test_nothing_stays_nothing() -> None:
    for merged in (vote(rows()), vote(rows(), 0.1), soft_suppress(rows(), "linear", 0.1)):
        assert merged.shape == (0, 5)


def plain_vote(detections: np.ndarray, soft: float | None) -> list[list[float]]:
    """Voting as one would write it down."""
    rest = sorted(detections.tolist(), key=lambda row: -row[0])
    merged = []
    while rest:
        best = rest[0]
        iou = [
            1.0 if row is best else float(overlap(np.array([best[1:]]), np.array([row[1:]]), 1)[0])
            for row in rest
        ]
        voters = [(row, value) for row, value in zip(rest, iou) if value >= 0.45]
        rest = [row for row, value in zip(rest, iou) if value < 0.45]
        total = sum(row[0] for row, _ in voters)
        box = [sum(row[0] * row[k] for row, _ in voters) / total for k in range(1, 5)]
        merged.append([best[0], *box])
        if soft is not None and len(voters) > 1:
            merged += [
                [row[0] * (1 - value), *row[1:]]
                for row, value in voters
                if row[0] * (1 - value) >= soft
            ]
    return sorted(merged)


side = st.integers(1, 30)
boxes = st.tuples(side, side, side, side).map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]])
some = st.lists(st.tuples(st.integers(1, 1000), boxes), max_size=12, unique_by=lambda d: d[0])


@given(some, st.sampled_from([None, 0.05]))
def test_voting_against_the_plain_loop(found: list, soft: float | None) -> None:  # type: ignore[type-arg]
    detections = rows(*((score / 1000, box) for score, box in found))
    merged = vote(detections, soft)
    assert np.sort(merged[:, 0]) == pytest.approx(
        sorted(row[0] for row in plain_vote(detections, soft))
    )
    assert sorted(merged.tolist()) == [pytest.approx(row) for row in plain_vote(detections, soft)]


@given(some, st.sampled_from(["linear", "gaussian"]))
def test_soft_suppression_never_raises_a_score(found: list, kind: str) -> None:  # type: ignore[type-arg]
    detections = rows(*((score / 1000, box) for score, box in found))
    kept = soft_suppress(detections, kind, 0.0)
    assert len(kept) == len(detections)
    assert (np.diff(kept[:, 0]) <= 1e-12).all()
    before = {tuple(row[1:]): 0.0 for row in detections.tolist()}
    for score, *box in detections.tolist():
        before[tuple(box)] = max(before[tuple(box)], score)
    assert all(score <= before[tuple(box)] + 1e-12 for score, *box in kept.tolist())
