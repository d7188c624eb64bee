"""`evaluate` with a detector: one look is the test net's pass, many looks and soft suppression."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe import evaluate, prepare
from scratchdet_caffe.caffeproto import write_prototxt
from scratchdet_caffe.caffeproto.labelmap import make_label_map
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.metrics import read_results


@pytest.fixture(scope="module")
def job(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The net of cells beside a set of two classes to test on."""
    folder = tmp_path_factory.mktemp("job")
    prepare.main(["shapes", "--out", str(folder / "set"), "--train", "12", "--test", "5"])
    text = (files / "test.prototxt").read_text().replace("num_classes: 3", "num_classes: 6")
    text = text.replace("num_output: 3", "num_output: 6").replace("nowhere", str(folder / "set"))
    text = text.replace(
        f'source: "{folder / "set"}" batch_size: 2 }}',
        f'source: "{folder / "set/test_lmdb"}" batch_size: 2 }}'
        f' annotated_data_param {{ label_map_file: "{folder / "set/labelmap.prototxt"}" }}',
    )
    text = text.replace(
        'top: "counted"',
        'top: "counted" detection_evaluate_param { num_classes: 6 evaluate_difficult_gt: false }',
    )
    (folder / "test.prototxt").write_text(text)
    net = caffe.Net(str(folder / "test.prototxt"), caffe.TEST)
    net.params["loc"][0].data[...] = net.params["loc"][1].data[...] = 0
    net.params["conf"][0].data[...] = np.linspace(-2, 5, 18).reshape(6, 3, 1, 1) / 255
    net.save(str(folder / "net.caffemodel"))
    return folder


def score(job: Path, out: Path, *more: str) -> dict[str, Any]:
    net = ["--model", str(job / "test.prototxt"), "--weights", str(job / "net.caffemodel")]
    assert evaluate.main([*net, "--out", str(out), *more]) == 0
    return json.loads((out / "metrics.json").read_text())


def test_one_look_finds_what_the_test_net_does(job: Path, tmp_path: Path) -> None:
    passed = score(job, tmp_path / "pass", "--all-rules")
    assert sum(own["detections"] for own in passed["classes"].values()) > 20
    assert all(abs(value) < 1e-6 for value in passed["all_rules"]["unexplained"].values())
    looked = score(job, tmp_path / "look", "--ground-truth", str(job / "set"), "--batch", "3")
    for name in ("voc-pixel 11-point", "voc-pixel area"):
        assert looked["map"][name] == pytest.approx(passed["map"][name], abs=1e-9)
    for a, b in zip(
        *(read_results(tmp_path / run / "detections.json").images for run in ("pass", "look"))
    ):
        assert np.allclose(a.detections, b.detections, atol=0.02)
        assert np.array_equal(a.truth, b.truth)
    # A VOC folder serves as well, and is looked at from its own pictures.
    voc = score(job, tmp_path / "voc", "--ground-truth", str(job / "set/VOCdevkit"))
    assert voc["map"]["voc-pixel area"] == pytest.approx(passed["map"]["voc-pixel area"], abs=1e-9)


def test_many_looks(job: Path, tmp_path: Path) -> None:
    metrics = score(job, tmp_path, "--multi-scale", "--batch", "3")
    assert len(metrics["views"]) == 8 and metrics["merged_by"] == "box voting"
    assert metrics["views"][0] == "32x32"
    assert (tmp_path / "comp4_det_test_ring.txt").exists()
    assert not (tmp_path / "detections.partial.jsonl").exists()
    soft = score(job, tmp_path, "--multi-scale", "512", "--voting", "coco", "--batch", "3")
    assert len(soft["views"]) == 9 and soft["merged_by"] == "soft box voting"


@pytest.mark.parametrize("kind", ["linear", "gaussian", "refinedet"])
def test_soft_suppression(job: Path, tmp_path: Path, kind: str) -> None:
    metrics = score(job, tmp_path, "--soft-nms", kind)
    assert metrics["soft_nms"] == kind
    for image in read_results(tmp_path / "detections.json").images:
        assert len(image.detections) <= 5  # what the net keeps
        assert (image.detections[:, 1] >= 0.3).all()  # and its least score


def test_the_classes_are_the_nets(job: Path, tmp_path: Path) -> None:
    """By its label map, not by the alphabet; a set that has others is not scored."""
    net = (job / "test.prototxt").read_text()
    names = ["triangle", "star", "square", "ring", "circle"]
    write_prototxt(tmp_path / "turned.prototxt", make_label_map(names))
    turned = net.replace(str(job / "set/labelmap.prototxt"), str(tmp_path / "turned.prototxt"))
    (tmp_path / "test.prototxt").write_text(turned)
    shutil.copy(job / "net.caffemodel", tmp_path)
    voc = ["--ground-truth", str(job / "set/VOCdevkit")]
    metrics = score(tmp_path, tmp_path / "out", *voc)
    assert list(metrics["classes"]) == names
    plain = score(job, tmp_path / "plain", *voc)
    assert list(plain["classes"]) == sorted(names)
    for own, other in zip(metrics["classes"].values(), plain["classes"].values()):
        assert own["detections"] == other["detections"]  # of one label, under two names
    for options, sentence in (
        (["--ground-truth", str(job / "set")], "but the ground truth numbers them circle, ring"),
        ([*voc, "--classes", "circle,ring,square,star,triangle"], "numbers them circle, ring"),
        ([*voc, "--classes", ",".join([*names, "bird"])], "but the ground truth has 7"),
    ):
        with pytest.raises(UserError, match=sentence):
            score(tmp_path, tmp_path / "none", *options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--multi-scale", "--soft-nms"], "give no --soft-nms with it"),
        (["--voting", "coco"], "give that, too"),
        (["--ground-truth", "nowhere"], "no ground truth here"),
    ],
)
def test_what_does_not_go_together_is_said(
    job: Path, tmp_path: Path, options: list[str], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        score(job, tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()
