"""`detect`: pictures in, annotated pictures and lists out."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from scratchdet_caffe import detect
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.metrics import read_detection_file

MAP = """
item { name: "none_of_the_above" label: 0 display_name: "background" }
item { name: "blue" label: 1 display_name: "blue" }
item { name: "green" label: 2 display_name: "green" }
"""


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two pictures in a folder, one of them in a folder inside, and a label map."""
    monkeypatch.chdir(tmp_path)
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[:16, 32:64, 0] = 255
    pixels[32:48, 96:, 1] = 204
    Path("photos/more").mkdir(parents=True)
    cv2.imwrite("photos/one.png", pixels)
    cv2.imwrite("photos/more/one two.png", pixels[:, ::-1])
    Path("map.prototxt").write_text(MAP)
    return tmp_path


def run(files: Path, *options: str, model: str = "test.prototxt") -> int:
    net = ["--model", str(files / model), "--weights", str(files / "net.caffemodel")]
    return detect.main([*net, *options])


def test_pictures_and_lists(files: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files, "photos", "--labelmap", "map.prototxt", "--out", "out") == 0
    (inside, one) = json.loads(Path("out/detected.json").read_text())
    assert (one["file"], one["width"], one["height"]) == ("photos/one.png", 128, 64)
    assert [(found["class"], found["box"]) for found in one["detections"]] == [
        ("blue", [32, 0, 64, 16]), ("green", [96, 32, 128, 48]),
    ]  # fmt: skip
    assert one["detections"][1]["score"] == pytest.approx(0.8)
    assert inside["detections"][0]["box"] == [64, 0, 96, 16]
    with open("out/detected.csv") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["file"], row["class"]) for row in rows[2:]] == [
        ("photos/one.png", "blue"), ("photos/one.png", "green"),
    ]  # fmt: skip
    # Names part by spaces in VOC's lines, so there are none.
    lines = read_detection_file("out/comp4_det_test_green.txt", ["more_one_two", "one"])
    assert lines.image.tolist() == [0, 1]
    # Small pictures are enlarged, so that what is written into them can be read.
    drawn = cv2.imread("out/pictures/one.jpg")
    assert drawn.shape == (240, 480, 3)
    assert (np.abs(drawn[60, 115:125].astype(int) - drawn[20, 150]).max(axis=1) > 60).any()
    assert Path("out/pictures/more_one_two.jpg").exists()
    assert "blue" in capsys.readouterr().out


def test_only_what_is_sure_enough(files: Path, photos: Path) -> None:
    run(files, "photos/one.png", "--min-score", "0.9", "--no-pictures", "--out", "out")
    (one,) = json.loads(Path("out/detected.json").read_text())
    assert [found["class"] for found in one["detections"]] == ["class1"]  # no label map: numbers
    assert not Path("out/pictures").exists()


@pytest.mark.parametrize("options", [["--multi-scale"], ["--soft-nms"], ["--batch", "4"]])
def test_other_ways_to_look(files: Path, photos: Path, options: list[str]) -> None:
    assert run(files, "photos", "--out", "out", *options) == 0
    for picture in json.loads(Path("out/detected.json").read_text()):
        assert {found["class"] for found in picture["detections"]} == {"class1", "class2"}


def test_a_deploy_net_takes_its_colours_from_the_test_net_beside_it(
    files: Path, photos: Path
) -> None:
    run(files, "photos/one.png", "--out", "out", model="deploy.prototxt")
    (one,) = json.loads(Path("out/detected.json").read_text())
    assert one["detections"][0]["score"] == 1  # with a mean colour of 0, not SSD's own


def test_a_picture_that_cannot_be_read_is_left_out(
    files: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("photos/broken.jpg").write_bytes(b"\xff\xd8\xff")
    assert run(files, "photos", "--out", "out") == 1
    assert "left out: photos/broken.jpg: the picture cannot be decoded" in capsys.readouterr().err
    assert len(json.loads(Path("out/detected.json").read_text())) == 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["nowhere"], "nowhere: no such picture or folder"),
        (["map.prototxt/.."], "no such picture"),
        (["empty"], "no pictures in empty"),
        (["photos", "--min-score", "2"], "--min-score must be"),
        (["photos", "--batch", "0"], "--batch must be"),
        (["photos", "--multi-scale", "--soft-nms"], "give no --soft-nms"),
        (["photos", "--labelmap", "other.prototxt"], "2 classes.*but the net has 3"),
        (["photos", "--job", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_what_cannot_be_done_is_said(
    files: Path, photos: Path, options: list[str], sentence: str
) -> None:
    Path("empty").mkdir()
    Path("other.prototxt").write_text(MAP.split('item { name: "green"')[0])
    with pytest.raises(UserError, match=sentence):
        run(files, *options, "--out", "out")
    assert not Path("out").exists()


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import runpy, sys; sys.argv[1:] = ['--help']\n"
        "try: runpy.run_module('scratchdet_caffe.detect', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "example:" in done.stdout
