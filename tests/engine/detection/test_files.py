"""Result files of DetectionOutput, through nets, against those that the reference wrote."""

from __future__ import annotations

import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe.errors import UserError

FOLDER = Path(__file__).resolve().parents[4] / "shared/golden/detfiles"
CASES: dict[str, Any] = {}
if FOLDER.is_dir():
    CASES = json.loads((FOLDER / "index.json").read_text())

golden = pytest.mark.skipif(not CASES, reason="needs ../shared/golden/detfiles")


@pytest.fixture
def case_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a case's net runs; its files are written to ``out``."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(name: str, forwards: int, images: int) -> list[dict[str, int]]:
    """Run a case in the current folder; return the sizes of files after each forward."""
    for file in (FOLDER / name).glob("*.*"):
        shutil.copy(file, ".")
    net = caffe.Net("net.prototxt", caffe.TEST)
    with np.load(FOLDER / "input.npz") as arrays:
        loc, conf, prior = (arrays[key] for key in ("loc", "conf", "prior"))
    net.blobs["prior"].data[...] = prior
    sizes = []
    for step in range(forwards):
        batch = slice(step * images, (step + 1) * images)
        net.blobs["loc"].data[...] = loc[batch]
        net.blobs["conf"].data[...] = conf[batch]
        net.forward()
        sizes.append({path.name: path.stat().st_size for path in Path("out").glob("*")})
    return sizes


def test_every_case_of_the_folder_is_run() -> None:
    assert set(CASES) == {path.name for path in FOLDER.glob("*") if path.is_dir()}


@golden
@pytest.mark.parametrize("name", CASES)
def test_files_equal_the_reference(name: str, case_folder: Path) -> None:
    case = CASES[name]
    sizes = run(name, case["forwards"], case["images_per_forward"])
    assert sizes == case["file_sizes_after_each_forward"]
    written = {path.name: path.read_text() for path in Path("out").iterdir()}
    theirs = {path.name: path.read_text() for path in (FOLDER / name / "out").iterdir()}
    # To the last digit: more than the README of that folder asks for.
    assert written == theirs


@golden
def test_a_round_is_written_when_it_is_complete(case_folder: Path) -> None:
    run("voc_two_rounds", 3, 1)
    for path in (FOLDER / "voc_two_rounds/out_after_3").iterdir():
        assert Path("out", path.name).read_text() == path.read_text()


NET = """
layer {{ name: "loc" type: "Input" top: "loc" input_param {{ shape {{ dim: 1 dim: 4 }} }} }}
layer {{ name: "conf" type: "Input" top: "conf"
  input_param {{ shape {{ dim: 1 dim: {classes} }} }} }}
layer {{ name: "prior" type: "Input" top: "prior"
  input_param {{ shape {{ dim: 1 dim: 2 dim: 4 }} }} }}
layer {{ name: "out" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "prior" top: "out"
  detection_output_param {{ num_classes: {classes} code_type: CENTER_SIZE
    save_output_param {{
      output_directory: "found" output_name_prefix: "{prefix}" output_format: "{format}"
      label_map_file: "map.prototxt" name_size_file: "sizes.txt" {more}
    }} }} }}
"""
MAP = 'item { name: "none" label: 0 } item { name: "cat" label: 1 }'


def small_net(case_folder: Path, **changes: Any) -> caffe.Net:
    values = {"classes": 2, "prefix": "", "format": "VOC", "more": "", **changes}
    Path("net.prototxt").write_text(NET.format(**values))
    for file, text in (("map.prototxt", MAP), ("sizes.txt", "a 10 20\nb 10 20\n")):
        if not Path(file).exists():
            Path(file).write_text(text)
    return caffe.Net("net.prototxt", caffe.TEST)


def forward(net: caffe.Net, *scores: float) -> None:
    net.blobs["prior"].data[...] = [[[0.1, 0.2, 0.5, 0.6], [0.1, 0.1, 0.2, 0.2]]]
    net.blobs["conf"].data[...] = scores
    net.forward()


def test_a_round_without_detections_leaves_empty_files(case_folder: Path) -> None:
    for format, name, text in (("VOC", "cat.txt", ""), ("COCO", ".json", "[]")):
        net = small_net(case_folder, format=format, more="num_test_image: 1")
        forward(net, 1, float("nan"))
        assert "".join(Path("found", name).read_text().split()) == text


def test_an_earlier_run_is_emptied_and_other_files_stay(case_folder: Path) -> None:
    Path("found").mkdir()
    for name in ("cat.txt", "thesis.txt"):
        Path("found", name).write_text("old")
    forward(small_net(case_folder), 0, 0.5)  # one of two images: the round is not complete
    assert Path("found/cat.txt").read_text() == ""
    assert Path("found/thesis.txt").read_text() == "old"


def test_small_scores_keep_their_quotes_in_json(case_folder: Path) -> None:
    """The reference takes numbers out of quotes by a pattern that knows no exponent."""
    forward(small_net(case_folder, format="COCO", more="num_test_image: 1"), 0, 1e-6)
    (row,) = json.loads(Path("found/.json").read_text())
    assert (row["image_id"], row["category_id"]) == ("a", "cat")
    assert re.fullmatch(r"\d\.?\d*e-0[67]", row["score"])


def test_where_the_named_files_are_missing_detection_goes_on(
    case_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    net = small_net(case_folder)
    Path("map.prototxt").unlink()
    with caplog.at_level(logging.WARNING, "caffe"):
        net = caffe.Net("net.prototxt", caffe.TEST)
    assert "map.prototxt is not there: no result files" in caplog.text
    forward(net, 0, 0.5)
    assert net.blobs["out"].data[0, 0, 0, 1] == 1
    assert not Path("found").exists()


@pytest.mark.parametrize(
    ("changes", "files", "sentence"),
    [
        ({"format": "voc"}, {}, "output_format 'voc' is unknown"),
        ({"more": "num_test_image: 3"}, {}, "num_test_image is 3, but sizes.txt lists 2"),
        ({"more": "num_test_image: 0"}, {}, "num_test_image is 0"),
        ({}, {"map.prototxt": MAP + 'item { name: "x" label: 1 }'}, "label 1 is given twice"),
        ({}, {"map.prototxt": MAP.replace("cat", "a/b")}, "'a/b' cannot name a file"),
        ({}, {"sizes.txt": "a 10\n"}, "sizes.txt:1: 'a 10' is not"),
    ],
)
def test_unusable_settings_are_said(
    case_folder: Path, changes: dict[str, str], files: dict[str, str], sentence: str
) -> None:
    for name, text in files.items():
        Path(name).write_text(text)
    with pytest.raises(UserError, match=f"layer 'out'.*{sentence}"):
        small_net(case_folder, **changes)


def test_a_detection_of_an_unnamed_label_is_said(case_folder: Path) -> None:
    net = small_net(case_folder, classes=3)
    with pytest.raises(UserError, match="label 2 is not in the label map"):
        forward(net, 0, 0, 0.5)


def test_a_folder_that_cannot_be_made_is_said(case_folder: Path) -> None:
    Path("found").write_text("a file")
    with pytest.raises(UserError, match="layer 'out'.*found/cat.txt: cannot write"):
        forward(small_net(case_folder), 0, 0.5)
