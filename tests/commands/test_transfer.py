"""Weights trained on COCO begin a fine-tuning on VOC with what they know of its classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from scratchdet_caffe import gen, transfer
from scratchdet_caffe.caffeproto import array_of, read_model
from scratchdet_caffe.caffeproto.classes import positions
from scratchdet_caffe.engine import load
from scratchdet_caffe.engine.module import save_caffemodel
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment import find_dataset

NARROW = ["--set", "backbone.width=0.0625", "--size", "64", "--recipe", "paper"]


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Jobs of one net on COCO and on VOC, with random weights of the former."""
    monkeypatch.chdir(tmp_path)
    for dataset in ("coco", "voc0712"):
        gen.main(["--arch", "root_resnet18", "--dataset", dataset, *NARROW, "--head", "refinedet"])
    folders = {d: Path(f"models/root_resnet18/{d}/paper_64_refinedet") for d in ("coco", "voc0712")}
    torch.manual_seed(1)
    save_caffemodel(load(folders["coco"] / "deploy.prototxt"), Path("coco.caffemodel"))
    return folders


def run(jobs: dict[str, Path], *words: str) -> None:
    job = str(jobs["voc0712"])
    transfer.main(["--weights", "coco.caffemodel", "--job", job, "--out", "voc.caffemodel", *words])


def test_scores_of_voc_classes_stay_those_of_coco(
    jobs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run(jobs)
    assert "20 of 80 classes in 12 layers" in capsys.readouterr().out
    x = torch.rand(1, 3, 64, 64) * 255
    scores = []
    for dataset, weights in (("coco", "coco.caffemodel"), ("voc0712", "voc.caffemodel")):
        net = load(jobs[dataset] / "deploy.prototxt", weights=weights)
        keep = ["odm_conf", "arm_conf", "odm_loc"]
        blobs = net({"data": x}, keep=keep)
        scores.append({name: blobs[name].detach().numpy() for name in keep})
    coco, voc = scores
    kept = positions(find_dataset("coco").classes, find_dataset("voc0712").classes)
    assert kept[0] == 0 and kept[-1] == 63  # background, and tv for tvmonitor
    old, new = (s["odm_conf"].reshape(-1, n) for s, n in ((coco, 81), (voc, 21)))
    np.testing.assert_allclose(new, old[:, kept], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(coco["odm_loc"], voc["odm_loc"])
    np.testing.assert_array_equal(coco["arm_conf"], voc["arm_conf"])


def test_layers_without_classes_are_untouched(jobs: dict[str, Path]) -> None:
    run(jobs)
    before, after = (
        {layer.name: [array_of(blob) for blob in layer.blobs] for layer in read_model(path).layer}
        for path in (Path("coco.caffemodel"), Path("voc.caffemodel"))
    )
    assert list(before) == list(after)
    for name, blobs in before.items():
        if not name.startswith("P") or "mbox_conf" not in name:
            assert all(np.array_equal(a, b) for a, b in zip(blobs, after[name])), name


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--from", "voc0712"], "differ by more than classes"),
        (["--job", "models/root_resnet18/coco/paper_64_refinedet"], "there is nothing to transfer"),
        (["--weights", "none.caffemodel"], "none.caffemodel"),
        (["--job", "nowhere"], "nowhere/job.json"),
    ],
)
def test_mistakes_are_sentences(jobs: dict[str, Path], words: list[str], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        run(jobs, *words)
    assert sentence in str(caught.value)
    assert not Path("voc.caffemodel").exists()


def test_unknown_classes_are_named() -> None:
    with pytest.raises(UserError, match=r"the weights know no unicorn; they know background, cat"):
        positions(["background", "cat"], ["background", "unicorn"])
