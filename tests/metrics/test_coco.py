"""COCO's numbers on sets of ours: sizes by bounds of one's own, difficult objects, crowds."""

from __future__ import annotations

import numpy as np
import pytest

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.metrics import ImageResult, Results, coco_score


def one_image(detections: list[list[float]], truth: list[list[float]], **more: object) -> Results:
    image = ImageResult(
        "one",
        64,
        64,
        np.array(detections, float).reshape(-1, 6),
        np.array(truth, float).reshape(-1, 6),
        **{key: np.array(value, float) for key, value in more.items()},  # type: ignore[arg-type]
    )
    return Results(("background", "cat", "dog"), [image])


def test_sizes_are_by_the_bounds_given() -> None:
    # 8 x 8 pixels found, 20 x 20 missed, 40 x 40 found; both ends of a box are inside.
    boxes = [[1, 1, 8, 8], [11, 1, 30, 20], [21, 21, 60, 60]]
    results = one_image([[1, 0.9, *boxes[0]], [1, 0.8, *boxes[2]]], [[1, 0, *box] for box in boxes])
    score = coco_score(results, bounds=(12, 32))
    assert score.objects.tolist() == [[3, 1, 1, 1], [0, 0, 0, 0]]
    by_size = [score.ap(0.5, size) for size in ("small", "medium", "large")]
    assert by_size == [pytest.approx(1), 0.0, pytest.approx(1)]
    # By COCO's own bounds the two smaller ones are small.
    assert coco_score(results).objects[0].tolist() == [3, 2, 1, 0]
    assert coco_score(results).ap(0.5, "large") is None
    assert score.ap(label="dog") is None  # no dog is there, so the mean is the cats'
    assert score.ap() == score.ap(label="cat") == score.summary("cat")["AP"]
    assert score.ar(1) == pytest.approx(1 / 3)


def test_any_number_of_detections_on_a_difficult_object_are_left_out() -> None:
    truth = [[1, 0, 1, 1, 20, 20], [1, 1, 31, 31, 60, 60]]
    found = [[1, 0.9, 31, 31, 60, 60], [1, 0.8, 32, 31, 60, 60], [1, 0.7, 1, 1, 20, 20]]
    assert coco_score(one_image(found, truth)).ap() == pytest.approx(1)
    # A small box inside is a false alarm on a difficult object, but none on a crowd.
    inside = [[1, 0.95, 40, 40, 45, 45], *found]
    assert coco_score(one_image(inside, truth)).ap(0.5) == pytest.approx(0.5)
    crowd = one_image(inside, truth, crowd=[0, 1])
    assert coco_score(crowd).ap(0.5) == pytest.approx(1)


def test_areas_other_than_the_boxes_decide_the_size() -> None:
    results = one_image([], [[1, 0, 1, 1, 40, 40]], area=[900])
    assert coco_score(results).objects[0].tolist() == [1, 1, 0, 0]


def test_nothing_at_all_is_no_number() -> None:
    score = coco_score(Results(("background", "cat")))
    assert set(score.summary().values()) == {None}


def test_who_watches_is_told_how_far_it_is() -> None:
    shares: list[float] = []
    coco_score(one_image([], [[1, 0, 1, 1, 4, 4]]), step=shares.append)
    assert shares == [0.0, 0.5]


@pytest.mark.parametrize("bounds", [(0, 10), (20, 10), (float("nan"), 3), (1, float("inf"))])
def test_bounds_that_are_none_are_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(UserError, match="size bounds"):
        coco_score(Results(("background", "cat")), bounds=bounds)


def test_an_unknown_iou_is_no_number_in_between() -> None:
    with pytest.raises(ValueError, match="0.52"):
        coco_score(Results(("background", "cat"))).ap(0.52)
