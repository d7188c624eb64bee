"""prepare coco: which pictures make which set, and records as SSD-Caffe's conversion gives them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from scratchdet_caffe.caffeproto.labelmap import labels_by_name, read_label_map
from scratchdet_caffe.data import Database
from scratchdet_caffe.data.coco import read_instances
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.prepare import main

SIZE = (40, 60)  # height, width
CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}, {"id": 3, "name": "car"}]


def box(image: int, category: int, *edges: float, crowd: int = 0) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": list(edges), "iscrowd": crowd}


def instances(ids: list[int], pattern: str, boxes: list[dict[str, Any]]) -> dict[str, Any]:
    images = [
        {"id": i, "file_name": pattern % i, "height": SIZE[0], "width": SIZE[1], "license": 1}
        for i in ids
    ]
    numbered = [{"id": number, "area": 1.5, **given} for number, given in enumerate(boxes)]
    return {"info": {}, "images": images, "annotations": numbered, "categories": CATEGORIES}


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """2014 and 2017 of the same five pictures: 1, 2 in train2014, 3, 4, 5 in val2014; 4 minival."""
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    boxes = [
        box(1, 1, 0.5, 1.25, 20, 30),
        box(2, 18, 5, 5, 10, 10),
        box(3, 3, 1, 1, 8, 8),
        box(4, 18, 10, 4.5, 20, 20),
        box(4, 1, 0, 0, 60, 40, crowd=1),
        box(4, 18, 1, 2, 3, 4),
    ]
    sets = {
        "train2014": ([1, 2], "COCO_train2014_%012d.jpg"),
        "val2014": ([3, 4, 5], "COCO_val2014_%012d.jpg"),
        "train2017": ([1, 2, 3, 5], "%012d.jpg"),
        "val2017": ([4], "%012d.jpg"),
    }
    rng = np.random.default_rng(0)
    for name, (ids, pattern) in sets.items():
        said = instances(ids, pattern, [b for b in boxes if b["image_id"] in ids])
        (root / f"annotations/instances_{name}.json").write_text(json.dumps(said))
        (root / "images" / name).mkdir(parents=True)
        for i in ids:
            pixels = cv2.resize(rng.integers(0, 256, (8, 12, 3), np.uint8), SIZE[::-1])
            cv2.imwrite(str(root / "images" / name / (pattern % i)), pixels)
    return root


def prepare(root: Path, *options: str) -> Path:
    main(["coco", "--root", str(root), "--out", str(root.parent / "out"), *options])
    return root.parent / "out"


def keys(path: Path) -> list[str]:
    database = Database(path)
    return sorted(Path(database.key(i)).stem[-1] for i in range(len(database)))


def test_2017_gives_what_training_reads(coco: Path) -> None:
    out = prepare(coco)
    label_map = read_label_map(out / "labelmap.prototxt")
    assert labels_by_name(label_map) == {"none_of_the_above": 0, "1": 1, "3": 2, "18": 3}
    assert [item.display_name for item in label_map.item][1:] == ["person", "car", "dog"]
    assert keys(out / "trainval_lmdb") == ["1", "2", "3", "5"]
    assert (out / "test.txt").read_text() == (
        "images/val2017/000000000004.jpg Annotations/val2017/000000000004.json\n"
    )
    assert (out / "test_name_size.txt").read_text() == "4 40 60\n"
    test = Database(out / "test_lmdb")
    assert test.key(0) == "00000000_images/val2017/000000000004.jpg"
    dogs, people = test.record(0).annotation_group
    assert (dogs.group_label, [one.instance_id for one in dogs.annotation]) == (3, [0, 1])
    assert not dogs.annotation[0].bbox.difficult
    edges = dogs.annotation[0].bbox
    assert [edges.xmin, edges.ymin] == pytest.approx([10 / 60, 4.5 / 40])
    assert [edges.xmax, edges.ymax] == pytest.approx([30 / 60, 24.5 / 40])
    # A crowd is an object that is difficult.
    assert (people.group_label, people.annotation[0].bbox.difficult) == (1, True)


def test_records_equal_those_of_the_split_files(coco: Path, tmp_path: Path) -> None:
    out = prepare(coco)
    said = json.loads((coco / "annotations/instances_val2017.json").read_text())
    (split,) = [{"image": image, "annotation": said["annotations"]} for image in said["images"]]
    path = coco / (out / "test.txt").read_text().split()[1]
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(split))
    given = ["--list", str(out / "test.txt"), "--labelmap", str(out / "labelmap.prototxt")]
    options = ["--label-type", "json", "--out", str(tmp_path / "lmdb")]
    main(["list", "--root", str(coco), *given, *options])
    assert Database(tmp_path / "lmdb").record(0) == Database(out / "test_lmdb").record(0)


def test_2014_trains_on_all_but_minival(coco: Path) -> None:
    out = prepare(coco, "--split", "2014")
    # Which pictures make minival is told by val2017, which has the same.
    assert keys(out / "trainval_lmdb") == ["1", "2", "3", "5"]
    assert keys(out / "test_lmdb") == ["4"]
    assert "images/train2014/COCO_train2014_000000000001.jpg" in (out / "trainval.txt").read_text()
    (coco / "annotations/instances_val2017.json").unlink()
    with pytest.raises(UserError, match="which pictures make minival2014.*--minival FILE"):
        prepare(coco, "--split", "2014")
    (coco.parent / "names.txt").write_text("COCO_val2014_000000000003\n5\n")
    again = prepare(coco, "--split", "2014", "--minival", str(coco.parent / "names.txt"))
    assert keys(again / "test_lmdb") == ["3", "5"]
    assert keys(again / "trainval_lmdb") == ["1", "2", "4"]


def test_any_instances_file_will_do(shared: Path, tmp_path: Path) -> None:
    bccd = shared / "data/bccd"
    options = ["--train-set", "test", "--test-set", "val", "--out", str(tmp_path / "bccd")]
    images = bccd / "VOCdevkit/BCCD/JPEGImages"
    main(["coco", "--root", str(bccd / "coco"), "--images", str(images), *options])
    train, test = (Database(tmp_path / f"bccd/{name}_lmdb") for name in ("trainval", "test"))
    assert (len(train), len(test)) == (72, 87)
    count = sum(len(g.annotation) for i in range(72) for g in train.record(i).annotation_group)
    assert count == 945


def test_a_test_set_without_annotations_is_for_a_server(
    coco: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = json.loads((coco / "annotations/instances_val2017.json").read_text())
    del said["annotations"]
    (coco / "annotations/image_info_val2017.json").write_text(json.dumps(said))
    (coco / "annotations/instances_val2017.json").unlink()
    out = prepare(coco)
    assert not Database(out / "test_lmdb").record(0).annotation_group
    assert "no annotations, so what is trained cannot be scored" in capsys.readouterr().err


def test_check_reads_coco_too(coco: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = coco / "annotations/instances_train2017.json"
    said = json.loads(path.read_text())
    said["annotations"] += [box(5, 1, 50, 1, 10.5, 5), box(5, 3, 50, 1, 30, 5)]
    path.write_text(json.dumps(said))
    with pytest.raises(UserError, match="1 fault"):
        main(["check", "--root", str(coco), "--out", str(coco.parent / "check")])
    lines = (coco.parent / "check/findings.tsv").read_text().splitlines()
    # Half a pixel is rounding, twenty are none.
    assert len(lines) == 2
    assert "note\tbox outside" in lines[0]
    assert "fault\tbox outside" in lines[1]
    assert f"{path}: picture 5 (000000000005.jpg): object 2 (3): box (50, 1, 80, 6)" in lines[1]
    assert ["person", "2", "1"] in [line.split() for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("{", "malformed JSON"),
        ('{"images": []}', "not of COCO's form: Object missing required field `categories`"),
        ('{"images": [], "categories": []}', "names no picture"),
        ({"images": [{"id": 1, "file_name": "a"}] * 2}, "the same id"),
        ({"images": [{"id": 1, "file_name": "a"}, {"id": 2, "file_name": "a"}]}, "same file_name"),
        ({"annotations": [box(9, 1, 0, 0, 1, 1)]}, "annotation 0: image_id 9 is no picture"),
        ({"annotations": [box(4, 7, 0, 0, 1, 1)]}, "category_id 7 is no category"),
        ({"annotations": [box(4, 1, 0, 0, 1)]}, r"not of COCO's form: .*annotations\[0\].bbox"),
    ],
)
def test_broken_files_are_sentences(change: Any, says: str, coco: Path) -> None:
    path = coco / "annotations/instances_val2017.json"
    if isinstance(change, dict):
        change = json.dumps({**json.loads(path.read_text()), **change})
    path.write_text(change)
    with pytest.raises(UserError, match=says) as caught:
        read_instances(path)
    assert str(caught.value).startswith(str(path))


def test_missing_pieces_are_sentences(coco: Path) -> None:
    with pytest.raises(UserError, match=r"no annotations/instances_val2018\.json \(did you mean"):
        prepare(coco, "--test-set", "val2018")
    with pytest.raises(UserError, match="give it without --train-set"):
        prepare(coco, "--split", "2017", "--test-set", "val2017")
    for path in (coco / "images/val2017").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"its pictures \(e\.g\. 000000000004\.jpg\) are in none"):
        prepare(coco)
