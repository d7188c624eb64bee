"""detections.json reads back, and its score counts each class by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.metrics import ImageResult, Results, read_results, score, write_results

RESULTS = Results(
    ("background", "cat", "dog", "owl"),
    [
        ImageResult(
            "one",
            100,
            80,
            np.array([[1, 0.9, 10, 10, 50, 50], [2, 0.8, 10, 10, 50, 50]]),
            np.array([[1, 0, 10, 10, 50, 52], [2, 1, 60, 10, 90, 50]]),
        ),
        ImageResult("two", 64, 64, np.empty((0, 6)), np.array([[1, 0, 1, 1, 64, 64]])),
    ],
)


def test_each_class_is_scored_by_itself() -> None:
    scores = score(RESULTS)
    assert list(scores) == ["cat", "dog", "owl"]
    assert scores["cat"].ap_area == pytest.approx(0.5)
    assert scores["cat"].ap_11point == pytest.approx(6 / 11)
    assert (scores["dog"].ap_area, scores["dog"].difficult) == (None, 1)  # only a difficult one
    assert scores["owl"].ap_11point is None


def test_round_trip(tmp_path: Path) -> None:
    write_results(tmp_path / "detections.json", RESULTS)
    back = read_results(tmp_path / "detections.json")
    assert back.classes == RESULTS.classes
    for mine, theirs in zip(back.images, RESULTS.images):
        assert (mine.name, mine.width, mine.height) == (theirs.name, theirs.width, theirs.height)
        assert np.array_equal(mine.detections, theirs.detections)
        assert np.array_equal(mine.truth, theirs.truth)


@pytest.mark.parametrize("text", ["", "{}", '{"classes": [], "images": [{"name": 1}]}', "[1]"])
def test_another_file_is_the_users_mistake(tmp_path: Path, text: str) -> None:
    (tmp_path / "detections.json").write_text(text)
    with pytest.raises(UserError, match=r"not a detections\.json"):
        read_results(tmp_path / "detections.json")
