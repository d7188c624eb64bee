"""A VOC or COCO folder as the source of AnnotatedData gives what its LMDB would give."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.data import Batches
from scratchdet_caffe.data.sources import open_records
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.prepare import main

SETTINGS = """
name: "data" type: "AnnotatedData" data_param { batch_size: 3 }
transform_param { force_color: true mirror: true resize_param { width: 24 height: 24 }
  expand_param { prob: 0.5 max_expand_ratio: 2 } }
"""
SIZE = (40, 60)


def write_picture(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (8, 12, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(pixels, SIZE[::-1]))


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """A VOC folder: four training pictures, one of them a PNG, and two for testing."""
    root = tmp_path / "voc"
    for name in ("Annotations", "ImageSets/Main"):
        (root / name).mkdir(parents=True)
    for number, stem in enumerate("abcdef"):
        write_picture(root / f"JPEGImages/{stem}.{'png' if stem == 'c' else 'jpg'}", number)
        box = "<bndbox><xmin>{}</xmin><ymin>3</ymin><xmax>50</xmax><ymax>30</ymax></bndbox>"
        objects = "".join(
            f"<object><name>{name}</name>{box.format(number + 1)}</object>"
            for name in ("dog", "cat")[: number % 3]
        )
        size = f"<size><width>{SIZE[1]}</width><height>{SIZE[0]}</height></size>"
        xml = f"<annotation>{size}{objects}</annotation>"
        (root / f"Annotations/{stem}.xml").write_text(xml)
    (root / "ImageSets/Main/trainval.txt").write_text("a\nb\nc\nd\n")
    (root / "ImageSets/Main/test.txt").write_text("e\nf\n")
    return root


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    for name, ids in (("train2017", (4, 9, 2)), ("val2017", (7,))):
        images, boxes = [], []
        for i in ids:
            write_picture(root / name / f"{i:012d}.jpg", i)
            images.append({"id": i, "file_name": f"{i:012d}.jpg", "height": 40, "width": 60})
            boxes.append({"image_id": i, "category_id": 1 + i % 2, "bbox": [i, 1.5, 20, 20.25]})
        categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
        said = {"images": images, "annotations": boxes, "categories": categories}
        (root / f"annotations/instances_{name}.json").write_text(json.dumps(said))
    return root


def layer(source: Path, label_map: Path | None = None) -> pb.LayerParameter:
    made = parse_text(SETTINGS, pb.LayerParameter)
    made.data_param.source = str(source)
    if label_map:
        made.annotated_data_param.label_map_file = str(label_map)
    return made


def batches(asked: pb.LayerParameter, phase: int, **how: int) -> list[np.ndarray]:
    with Batches(asked, phase, seed=5, **how) as made:
        return [array for _ in range(3) for array in made.next()]


def assert_same(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> None:
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("how", [{"threads": 2}, {"workers": 1}])
def test_a_voc_folder_gives_what_its_lmdb_gives(how: dict[str, int], voc: Path) -> None:
    out = voc.parent / "out"
    main(["voc", "--root", str(voc), "--out", str(out)])
    label_map = out / "labelmap.prototxt"
    for phase, name in ((pb.TRAIN, "trainval"), (pb.TEST, "test")):
        expected = batches(layer(out / f"{name}_lmdb"), phase)
        assert_same(batches(layer(voc, label_map), phase, **how), expected)
        listed = voc / f"ImageSets/Main/{name}.txt"
        assert_same(batches(layer(listed, label_map), phase, **how), expected)


def test_a_devkit_stands_for_its_years(voc: Path) -> None:
    kit = voc.parent / "VOCdevkit"
    kit.mkdir()
    voc.rename(kit / "VOC2007")
    main(["voc", "--root", str(kit), "--out", str(kit.parent / "out")])
    out = kit.parent / "out"
    expected = batches(layer(out / "trainval_lmdb"), pb.TRAIN)
    assert_same(batches(layer(kit, out / "labelmap.prototxt"), pb.TRAIN), expected)


@pytest.mark.parametrize("how", [{"threads": 2}, {"workers": 1}])
def test_a_coco_folder_gives_what_its_lmdb_gives(how: dict[str, int], coco: Path) -> None:
    out = coco.parent / "out"
    main(["coco", "--root", str(coco), "--out", str(out)])
    for phase, name, part in (
        (pb.TRAIN, "trainval", "train2017"),
        (pb.TEST, "test", "val2017"),
    ):
        expected = batches(layer(out / f"{name}_lmdb"), phase)
        assert_same(batches(layer(coco), phase, **how), expected)  # its classes have numbers
        file = coco / f"annotations/instances_{part}.json"
        assert_same(batches(layer(file), phase, **how), expected)


def test_what_is_wrong_is_named(voc: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a VOC folder, whose .* give .*label_map_file"):
        open_records(layer(voc), pb.TRAIN)
    label_map = tmp_path / "map"
    label_map.write_text('item { name: "background" label: 0 } item { name: "cat" label: 1 }')
    records = open_records(layer(voc, label_map), pb.TEST)
    assert (len(records), records.key(0)) == (2, "00000000_JPEGImages/e.jpg")
    with Batches(layer(voc, label_map), pb.TEST, 0) as made, pytest.raises(UserError) as caught:
        made.next()
    where = f"{voc}: record '00000000_JPEGImages/e.jpg'"
    assert str(caught.value) == f"{where}: the class 'dog' is not in the label map"
    (voc / "JPEGImages/e.jpg").unlink()
    with Batches(layer(voc, label_map), pb.TEST, 0) as made, pytest.raises(UserError) as caught:
        made.next()
    assert str(caught.value).startswith(where)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no LMDB here: .*, nor is it a VOC or COCO folder"):
        open_records(layer(tmp_path / "empty"), pb.TRAIN)
