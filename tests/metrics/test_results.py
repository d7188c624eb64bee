"""detections.json reads back, and its score counts each class by itself."""

from __future__ import annotations

import json
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


def test_what_it_lacks_or_has_too_much_is_said(tmp_path: Path) -> None:
    row = [1, 0.5, 1, 1, 9, 9]
    path = tmp_path / "detections.json"
    write_results(path, RESULTS)
    for changes, sentence in (
        ({"name": 1}, "is no text"),
        ({"width": "100"}, "image 'one' has no width and height"),
        ({"detections": [[9, *row[1:]]]}, "image 'one' has a row of label 9"),
        ({"detections": [[1.5, *row[1:]]]}, "image 'one' has a row of label 1.5"),
        ({"truth": [[0, *row[1:]]]}, "image 'one' has a row of label 0"),
        ({"detections": [[1, float("nan"), *row[2:]]]}, "with what is no number"),
        ({"order": [0, 1, 2]}, "order does not have a number for each row"),
    ):
        data = json.loads(path.read_text())
        data["images"][0].update(changes)
        (tmp_path / "edited.json").write_text(json.dumps(data))
        with pytest.raises(UserError, match=sentence):
            read_results(tmp_path / "edited.json")
    for classes in ([], ["background", "cat", "cat", "owl"]):
        (tmp_path / "edited.json").write_text(json.dumps({**data, "classes": classes}))
        with pytest.raises(UserError, match="no classes, or one class twice"):
            read_results(tmp_path / "edited.json")


@pytest.mark.parametrize("text", ["", "{}", '{"classes": [], "images": [{"name": 1}]}', "[1]"])
def test_another_file_is_the_users_mistake(tmp_path: Path, text: str) -> None:
    (tmp_path / "detections.json").write_text(text)
    with pytest.raises(UserError, match=r"not a detections\.json"):
        read_results(tmp_path / "detections.json")
