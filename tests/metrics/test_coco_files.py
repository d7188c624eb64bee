"""COCO's JSON: what is written reads back, and whatever does not match is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.metrics import (
    ImageResult,
    Results,
    coco_score_of,
    read_coco_results,
    read_instances,
    results_of,
    write_coco_results,
)

INSTANCES: dict[str, Any] = {
    "images": [
        {"id": 7, "file_name": "a/seven.jpg", "width": 40, "height": 30},
        {"id": 3, "file_name": "a/three.jpg", "width": 20, "height": 10},
    ],
    "categories": [{"id": 9, "name": "dog"}, {"id": 4, "name": "cat"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 9, "bbox": [0, 0, 10, 5], "area": 30, "iscrowd": 1},
        {"id": 2, "image_id": 3, "category_id": 4, "bbox": [1, 2, 3, 4]},
    ],
}
DETECTIONS = [{"image_id": 7, "category_id": 4, "bbox": [0.5, 1, 2, 3], "score": 0.25}]


def test_as_our_results() -> None:
    results = results_of(INSTANCES, DETECTIONS)
    assert results.classes == ("background", "cat", "dog")
    three, seven = results.images
    assert (three.name, three.width, three.height) == ("three", 20, 10)
    assert three.truth.tolist() == [[1, 0, 2, 3, 4, 6]]
    assert three.crowd is None
    assert seven.truth.tolist() == [[2, 1, 1, 1, 10, 5]]
    assert (seven.crowd.tolist(), seven.area.tolist()) == ([1], [30])  # type: ignore[union-attr]
    assert seven.detections.tolist() == [[1, 0.25, 1.5, 2, 2.5, 4]]


def test_null_says_as_little_as_nothing(tmp_path: Path) -> None:
    path = tmp_path / "gt.json"
    path.write_text(json.dumps(changed("annotations", area=None, iscrowd=None)))
    instances = read_instances(path)
    assert coco_score_of(instances, DETECTIONS).objects[:, 0].tolist() == [1, 1]
    assert results_of(instances, []).images[1].area.tolist() == [50]  # type: ignore[union-attr]


def test_what_is_written_pycocotools_reads(tmp_path: Path) -> None:
    results = results_of(INSTANCES, DETECTIONS)
    (tmp_path / "gt.json").write_text(json.dumps(INSTANCES))
    write_coco_results(tmp_path / "dt.json", results, image_ids=[3, 7], category_ids=[4, 9])
    assert json.loads((tmp_path / "dt.json").read_text()) == DETECTIONS
    loaded = COCO(tmp_path / "gt.json").loadRes(str(tmp_path / "dt.json"))
    assert loaded.loadAnns(loaded.getAnnIds())[0]["bbox"] == [0.5, 1, 2, 3]
    assert read_coco_results(tmp_path / "dt.json", {3, 7}, {4, 9}) == DETECTIONS


def test_ids_by_default(tmp_path: Path) -> None:
    found = np.array([[1, 0.5, 1, 1, 2, 2]])
    for names, ids in ((("000012", "3"), [12, 3]), (("x", "3"), [1, 2]), (("3", "03"), [1, 2])):
        images = [ImageResult(name, 9, 9, found, np.empty((0, 6))) for name in names]
        write_coco_results(tmp_path / "dt.json", Results(("background", "cat"), images))
        rows = json.loads((tmp_path / "dt.json").read_text())
        assert [row["image_id"] for row in rows] == ids
        assert rows[0]["bbox"] == [0, 0, 2, 2]


def test_stems_that_tell_no_images_apart_give_way_to_ids() -> None:
    images = [{"id": 5, "file_name": "a/1.jpg"}, {"id": 6, "file_name": "b/1.jpg"}]
    results = results_of({**INSTANCES, "images": images, "annotations": []}, [])
    assert [image.name for image in results.images] == ["5", "6"]


def test_ids_with_leading_zeros_are_read(shared: Path) -> None:
    """As DetectionOutput writes them where names are padded: no JSON, but clear."""
    path = shared / "golden/detfiles/coco_zero_padded_names/out/pre_.json"
    rows = read_coco_results(path, range(5, 11), (4, 7, 10, 13))
    assert len(rows) == 25
    assert rows[0]["image_id"] == 5


def changed(kind: str, **changes: Any) -> dict[str, Any]:
    rows = [{**INSTANCES[kind][0], **changes}, *INSTANCES[kind][1:]]
    return {**INSTANCES, kind: [{k: v for k, v in row.items() if v != "gone"} for row in rows]}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "gt.json: not JSON"),
        ([], "no instances file"),
        ({"images": []}, "needs images, categories and annotations"),
        ({**INSTANCES, "categories": []}, "no categories"),
        (changed("images", id="gone"), r"images\[0\] needs id"),
        (changed("images", id=3), r"images\[1\]: id 3 is given twice"),
        (changed("categories", name="cat"), "2 categories are named 'cat'"),
        (changed("annotations", bbox=[1, 2, 3]), r"annotations\[0\]: an annotation is"),
        (changed("annotations", bbox=[1, 2, -3, 4]), r"annotations\[0\]: bbox .* has a negative"),
        (changed("annotations", image_id=8), r"annotations\[0\]: image 8 is not in the image set"),
        (changed("annotations", category_id=[]), r"annotations\[0\]: an annotation is"),
        (changed("annotations", bbox=["1", "2", "3", "4"]), r"annotations\[0\]: an annotation is"),
        (changed("annotations", area="big"), r'annotations\[0\]: area is "big", not a number'),
        (changed("annotations", iscrowd="0"), r'annotations\[0\]: iscrowd is "0", not a number'),
        (changed("images", width="wide"), r'images\[0\]: width is "wide", not a number'),
        (changed("images", id="7"), "some ids of images are numbers and some are text"),
        ({**INSTANCES, "images": [], "annotations": []}, "no images in it"),
    ],
)
def test_bad_instances_are_named(tmp_path: Path, content: Any, sentence: str) -> None:
    path = tmp_path / "gt.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UserError, match=sentence):
        read_instances(path)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"score": float("nan")}, "must be finite"),
        ({"score": "high"}, "a detection is"),
        ({"score": "0.5"}, "a detection is"),
        ({"score": None}, "a detection is"),
        ({"bbox": [1, 2, "3", 4]}, "a detection is"),
        ({"image_id": "007"}, r'image "007" is not in the image set, but 7 is: numbers and text'),
        ({"bbox": 5}, "a detection is"),
        ({"image_id": 8}, "image 8 is not in the image set"),
        ({"category_id": 1}, "category 1 is not a class"),
    ],
)
def test_bad_detections_are_named(tmp_path: Path, row: dict[str, Any], sentence: str) -> None:
    path = tmp_path / "dt.json"
    path.write_text(json.dumps([*DETECTIONS, {**DETECTIONS[0], **row}]))
    with pytest.raises(UserError, match=rf"dt.json: detections\[1\]: .*{sentence}"):
        read_coco_results(path, {3, 7}, {4, 9})


def test_a_file_of_something_else_is_said(tmp_path: Path) -> None:
    (tmp_path / "dt.json").write_text("{}")
    with pytest.raises(UserError, match="holds no list of detections"):
        read_coco_results(tmp_path / "dt.json", {3}, {4})
