"""`evaluate` against a stand-in engine: what it asks of pycaffe, scores and writes."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from scratchdet_caffe import evaluate
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.data.database import record_key, write_database
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.metrics import (
    AREA,
    ELEVEN_POINT,
    read_detection_file,
    read_results,
)
from scratchdet_caffe.scoring import read_test_net

NET = """
layer {{
  name: "data" type: "AnnotatedData" top: "data" top: "label" include {{ phase: TEST }}
  data_param {{ source: "test_lmdb" batch_size: 2 backend: LMDB }}
  annotated_data_param {{ label_map_file: "labelmap.prototxt" }}
}}
layer {{
  name: "found" type: "DetectionOutput" bottom: "data" top: "found"
  detection_output_param {{ num_classes: {classes} }}
}}
layer {{
  name: "counted" type: "DetectionEvaluate" bottom: "found" bottom: "label" top: "counted"
  detection_evaluate_param {{ num_classes: {classes} name_size_file: "sizes.txt" }}
}}
"""
LABEL_MAP = """
item { name: "none_of_the_above" label: 0 display_name: "background" }
item { name: "cat" label: 1 display_name: "cat" }
item { name: "dog" label: 2 display_name: "dog" }
"""
# item, label, score, box; the third image is alone in its batch, so item 1 wraps around.
DETECTIONS = [
    [[0, 1, 0.9, 0.1, 0.1, 0.5, 0.5], [1, 2, 0.8, 0.2, 0.2, 0.4, 0.4]],
    [[0, 1, 0.7, 0.6, 0.6, 0.9, 0.9], [1, 1, 0.9, 0.1, 0.1, 0.5, 0.5]],
]
# item, label, instance, box, difficult
TRUTH = [
    [[0, 1, 0, 0.1, 0.1, 0.5, 0.5, 0], [1, 2, 0, 0.2, 0.2, 0.4, 0.4, 0]],
    [[0, 1, 0, 0.1, 0.1, 0.3, 0.3, 0], [1, 1, 0, 0.1, 0.1, 0.5, 0.5, 0]],
]
COUNTED = [
    [[-1, 1, 1, -1, -1], [-1, 2, 1, -1, -1], [0, 1, 0.9, 1, 0], [1, 2, 0.8, 1, 0]],
    [[-1, 1, 2, -1, -1], [-1, 2, 0, -1, -1], [0, 1, 0.7, 0, 1], [1, 1, 0.9, 1, 0]],
]


class StandInNet:
    """Speaks as much of ``caffe.Net`` as `evaluate` may use: forward and blobs."""

    def __init__(self, model: str, weights: str, phase: int) -> None:
        self.batch = -1
        self.blobs = {n: types.SimpleNamespace(data=None) for n in ("found", "label", "counted")}

    def forward(self) -> None:
        self.batch += 1
        for name, batches in (("found", DETECTIONS), ("label", TRUTH), ("counted", COUNTED)):
            self.blobs[name].data = np.array(batches[self.batch], np.float32)[None, None]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trained job in the current folder, and the stand-in engine."""
    monkeypatch.chdir(tmp_path)
    caffe = types.SimpleNamespace(Net=StandInNet, TEST=1)
    monkeypatch.setattr(evaluate, "load_engine", lambda name, device, nets: caffe)

    job = Path("job")
    job.mkdir()
    (job / "test.prototxt").write_text(NET.format(classes=3))
    (job / "solver.prototxt").write_text('ap_version: "11point" snapshot_prefix: "x/net"')
    for iteration in (90, 100, 20):
        (job / f"net_iter_{iteration}.caffemodel").write_bytes(b"weights")
    Path("labelmap.prototxt").write_text(LABEL_MAP)
    Path("sizes.txt").write_text("one 100 200\ntwo 50 50\nthree 10 10\n")
    records = [(record_key(i, f"JPEGImages/{n}.jpg"), datum()) for i, n in enumerate("abc")]
    write_database("test_lmdb", records)
    return job


def datum() -> pb.AnnotatedDatum:
    return pb.AnnotatedDatum(datum=pb.Datum(channels=3, height=30, width=40, data=b"x"))


def test_scores_files_and_exit_status(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main([str(job)]) == 0
    metrics = json.loads((job / "results/metrics.json").read_text())
    # cat: one of two found, then a false alarm; dog: found.
    assert metrics["classes"]["cat"]["ap"][AREA] == pytest.approx(0.5)
    assert metrics["map"][AREA] == pytest.approx(0.75)
    assert metrics["map"][ELEVEN_POINT] == pytest.approx((6 / 11 + 1) / 2)
    # The net's own count has the wrapped image twice, as the training log has.
    assert metrics["classes"]["cat"]["ap"]["detection_eval 11point"] == pytest.approx(7 / 11)
    assert metrics["weights"].endswith("net_iter_100.caffemodel")
    assert set(metrics["rules"]) == set(metrics["map"])
    printed = capsys.readouterr().out
    assert "voc-pixel 11-point" in printed and "0.7500" in printed

    results = read_results(job / "results/detections.json")
    assert [image.name for image in results.images] == ["one", "two", "three"]
    first = results.images[0]
    assert (first.width, first.height) == (200, 100)
    assert first.detections[0].tolist() == pytest.approx([1, 0.9, 20, 10, 100, 50])
    assert first.truth.tolist() == [[1, 0, 20, 10, 100, 50]]
    dogs = read_detection_file(job / "results/comp4_det_test_dog.txt", ["one", "two", "three"])
    assert (dogs.image.tolist(), dogs.box.tolist()) == ([1], [[10, 10, 20, 20]])


def test_all_rules_side_by_side(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main([str(job), "--all-rules"]) == 0
    rules = json.loads((job / "results/metrics.json").read_text())["all_rules"]
    assert rules["numbers"]["detection_eval 11point"] == pytest.approx((7 / 11 + 1) / 2)
    assert rules["numbers"]["voc-pixel area"] == pytest.approx(0.75)
    first = rules["ways"]["detection_eval 11point"][0]
    assert first["change"].startswith("1 images that the last batch wraps around to")
    assert all(abs(value) < 1e-6 for value in rules["unexplained"].values())
    printed, page = capsys.readouterr().out, (job / "results/all_rules.md").read_text()
    for name in rules["numbers"]:
        assert name in printed and name in page


def test_overlaps_that_coco_has_not_are_said(job: Path) -> None:
    with pytest.raises(UserError, match="0.3 is none of them"):
        evaluate.main([str(job), "--all-rules", "--iou", "0.3"])
    assert not (job / "results").exists()


def test_a_map_below_the_minimum_fails(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main([str(job), "--min-map", "0.7"]) == 0
    assert evaluate.main([str(job), "--min-map", "0.9", "--out", "elsewhere"]) == 1
    assert "below" in capsys.readouterr().err
    assert Path("elsewhere/metrics.json").exists()


def test_model_and_weights_without_a_job(job: Path) -> None:
    weights = job / "net_iter_20.caffemodel"
    assert evaluate.main(["--model", str(job / "test.prototxt"), "--weights", str(weights)]) == 0
    assert json.loads((job / "results/metrics.json").read_text())["weights"] == str(weights)


def test_without_a_size_file_the_database_says_names_and_sizes(job: Path) -> None:
    net = NET.format(classes=3).replace('name_size_file: "sizes.txt"', "")
    (job / "test.prototxt").write_text(net)
    test = read_test_net(job / "test.prototxt")
    assert test.images == [("a", 40, 30), ("b", 40, 30), ("c", 40, 30)]


def without(kind: str) -> str:
    return NET.format(classes=3).replace(kind, "Silence")


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("job/test.prototxt", without("DetectionOutput"), "no DetectionOutput layer"),
        ("job/test.prototxt", without("AnnotatedData"), "no AnnotatedData layer"),
        ("job/test.prototxt", NET.format(classes=5), "num_classes 5, but .* has 3"),
        ("job/test.prototxt", NET.format(classes=3).replace("batch_size: 2", ""), "batch_size"),
        ("sizes.txt", "one 100 200\n", "lists 1 images, but .*test_lmdb holds 3"),
        ("sizes.txt", "one 100 200\ntwo 50\nthree 1 1\n", "sizes.txt:2: 'two 50'"),
        ("labelmap.prototxt", LABEL_MAP.split("item", 2)[1], "labelmap.prototxt"),
    ],
)
def test_what_does_not_fit_is_said(job: Path, file: str, text: str, sentence: str) -> None:
    Path(file).write_text(text)
    with pytest.raises(UserError, match=sentence):
        evaluate.main([str(job)])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "give JOB_DIR"),
        (["nowhere"], "no such folder"),
        (["job", "--weights", "lost.caffemodel"], "no such weights file"),
        (["."], "solver.prototxt"),
        (["job", "--min-map", "nan"], "--min-map must be a number from 0 to 1, not nan"),
        (["job", "--min-map", "75"], "--min-map must be a number from 0 to 1, not 75"),
    ],
)
def test_unusable_arguments_are_said(job: Path, arguments: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        evaluate.main(arguments)


def test_a_job_that_was_not_trained_is_said(job: Path) -> None:
    for weights in job.glob("*.caffemodel"):
        weights.unlink()
    with pytest.raises(UserError, match="train first"):
        evaluate.main([str(job)])


def test_an_object_of_an_unknown_label_is_said(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "TRUTH", [[[0, 9, 0, 0, 0, 1, 1, 0]]])
    with pytest.raises(UserError, match="'one' has an object of label 9"):
        evaluate.main([str(job)])


@pytest.mark.parametrize("module", ["evaluate", "report"])
def test_help_loads_nothing_heavy(module: str) -> None:
    code = (
        f"import runpy, sys; sys.argv[1:] = ['--help']\n"
        f"try: runpy.run_module('scratchdet_caffe.{module}', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "example:" in done.stdout
