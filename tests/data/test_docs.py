"""Every command of docs/data.md runs, on small sets of the layouts that it names."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from scratchdet_caffe.data import Database
from scratchdet_caffe.data.shapes import Drawing, write_shapes
from scratchdet_caffe.prepare import main

DOCS = (Path(__file__).parents[2] / "docs/data.md").read_text()
PREFIX = "python -m scratchdet_caffe.prepare "


def commands() -> list[str]:
    blocks = re.findall(r"^```\n(.*?)^```", DOCS, re.M | re.S)
    lines = [line for block in blocks for line in block.replace("\\\n", "").splitlines()]
    return [line.removeprefix(PREFIX) for line in lines if line.startswith(PREFIX)]


def write_coco(root: Path, pictures: list[Path]) -> None:
    """Give the same pictures, by number, to COCO's sets of 2014 and 2017."""
    (root / "annotations").mkdir(parents=True)
    third = len(pictures) // 3
    train, rest, minival = range(third), range(third, 2 * third), range(2 * third, len(pictures))
    sets = {"train2014": train, "val2014": [*rest, *minival], "val2017": minival}
    for name, ids in (*sets.items(), ("train2017", [*train, *rest])):
        pattern = "%012d.jpg" if "2017" in name else f"COCO_{name}_%012d.jpg"
        (root / "images" / name).mkdir(parents=True)
        for i in ids:
            shutil.copy(pictures[i], root / "images" / name / (pattern % i))
        images = [{"id": i, "file_name": pattern % i, "width": 48, "height": 48} for i in ids]
        boxes = [{"image_id": i, "category_id": 7, "bbox": [1, 2, 20, 30]} for i in ids]
        categories = [{"id": 7, "name": "train"}]
        said = {"images": images, "annotations": boxes, "categories": categories}
        (root / f"annotations/instances_{name}.json").write_text(json.dumps(said))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ``my_set``, ``VOCdevkit`` and ``coco``."""
    monkeypatch.chdir(tmp_path)
    write_shapes(tmp_path / "my_set", 30, 6, Drawing(48, 0))
    for year in ("VOC2007", "VOC2012"):
        shutil.copytree("my_set", f"VOCdevkit/{year}")
    write_coco(tmp_path / "coco", sorted((tmp_path / "my_set/JPEGImages").iterdir()))
    return tmp_path


def test_the_commands_run_in_the_order_in_which_they_stand(folder: Path) -> None:
    for line in commands():
        main(shlex.split(line))
    assert len(commands()) >= 7
    assert (folder / "check_my_set/sheet.jpg").is_file()
    sizes = {"voc0712": 60, "voc0712plus": 66, "coco": 24, "coco2014": 24, "my_set": 30}
    for name, count in sizes.items():
        assert len(Database(folder / f"data/{name}/trainval_lmdb")) == count
    record = Database("test_png_lmdb").record(0)
    assert record.datum.data.startswith(b"\x89PNG")
