"""SSD's own average precision, from rows of DetectionEvaluate."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.metrics import AP_VERSIONS, DetectionAccumulator


def rows_of(label: int, positives: int, hits: list[tuple[float, int]]) -> list[list[float]]:
    """Rows of one class from (score, true?) pairs."""
    head = [-1.0, label, positives, -1, -1]
    return [head, *([0.0, label, score, true, 1 - true] for score, true in hits)]


def ap_of(positives: int, hits: list[tuple[float, int]], version: str) -> float:
    accumulator = DetectionAccumulator()
    accumulator.add(rows_of(1, positives, hits))
    return accumulator.result(version).ap[1]


def test_the_three_versions_on_a_curve_drawn_by_hand() -> None:
    # Precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1.
    hits = [(0.9, 1), (0.8, 0), (0.7, 1)]
    assert ap_of(2, hits, "Integral") == pytest.approx(1 / 2 + 2 / 3 / 2)
    assert ap_of(2, hits, "MaxIntegral") == pytest.approx(1 / 2 + 2 / 3 / 2)
    assert ap_of(2, hits, "11point") == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    # A false alarm in front: the best precision at a higher recall counts for MaxIntegral only.
    late = [(0.9, 0), (0.8, 1), (0.7, 1)]
    assert ap_of(2, late, "Integral") == pytest.approx(1 / 2 / 2 + 2 / 3 / 2)
    assert ap_of(2, late, "MaxIntegral") == pytest.approx(2 / 3)
    assert ap_of(2, late, "11point") == pytest.approx(2 / 3)


def test_recall_is_compared_in_float32() -> None:
    # 7 of 10 found: 7/10 in float32 lies below 0.7, so only points 0.0 ... 0.6 are reached.
    assert ap_of(10, [(0.9, 1)] * 7, "11point") == pytest.approx(7 / 11)
    # 3 of 10: 3/10 in float32 lies above 0.3.
    assert ap_of(10, [(0.9, 1)] * 3, "11point") == pytest.approx(4 / 11)


def test_a_class_without_detections_counts_as_zero_in_the_mean() -> None:
    accumulator = DetectionAccumulator()
    accumulator.add(rows_of(1, 1, [(0.9, 1)]) + rows_of(2, 3, []) + rows_of(3, 0, [(0.5, 0)]))
    result = accumulator.result("11point")
    assert result.ap == {1: pytest.approx(1.0), 2: 0.0, 3: 0.0}
    assert result.missing == (2,)
    assert result.mean == pytest.approx(1 / 3)


def test_matches_to_difficult_objects_are_no_detections() -> None:
    accumulator = DetectionAccumulator()
    accumulator.add([[-1, 1, 1, -1, -1], [0, 1, 0.9, 0, 0], [0, 1, 0.8, 1, 0]])
    assert accumulator.result("Integral").ap[1] == 1.0


def test_nothing_added_is_a_mean_of_zero() -> None:
    result = DetectionAccumulator().result("11point")
    assert (result.ap, result.missing, result.mean) == ({}, (), 0.0)


def test_unknown_version_proposes_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'MaxIntegral'"):
        DetectionAccumulator().result("maxintegrl")


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="5 numbers"):
        DetectionAccumulator().add(np.zeros((2, 7)))


@pytest.mark.parametrize("version", AP_VERSIONS)
def test_batches_add_up(shared: Path, version: str) -> None:
    """Rows of a real DetectionEvaluate, as one batch or cut into two by image."""
    path = shared / "golden/eval/ssd_detection_evaluate_voc15_random.json"
    for rows in json.loads(path.read_text())["expected"]["caffe_ssd"].values():
        table = np.array(rows, np.float32)
        counts = table[:, 0] == -1
        early = counts | (table[:, 0] % 2 == 0)
        empty_counts = np.where(counts[:, None], [1, 1, 0, 1, 1], 1) * table
        whole, parts = DetectionAccumulator(), DetectionAccumulator()
        whole.add(table[None, None])
        parts.add(table[early])
        parts.add(empty_counts[counts | ~early])
        together, apart = whole.result(version), parts.result(version)
        assert apart.ap == pytest.approx(together.ap, abs=1e-6)
        assert together.mean == pytest.approx(np.mean(list(together.ap.values())), abs=1e-6)


# Distinct scores, so that the order is no matter of luck.
curves = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 1)), unique_by=lambda h: h[0])


@given(curves, st.integers(0, 5), st.sampled_from(AP_VERSIONS), st.randoms())
def test_ap_is_bounded_and_blind_to_the_order_of_rows(hits, unfound, version, random) -> None:  # type: ignore[no-untyped-def]
    positives = sum(true for _, true in hits) + unfound
    ap = ap_of(positives, hits, version)
    assert 0 <= ap <= 1 + 1e-5
    shuffled = list(hits)
    random.shuffle(shuffled)
    assert ap_of(positives, shuffled, version) == ap
    # A false alarm below all others changes nothing; one more unfound object only lowers AP.
    assert ap_of(positives, [*hits, (-1, 0)], version) == pytest.approx(ap, abs=1e-6)
    assert ap_of(positives + 1, hits, version) <= ap + 1e-5
