"""A sample of archs, heads and recipes trains: three iterations, a finite loss, all layers move."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe import prepare
from scratchdet_caffe.experiment import plan
from scratchdet_caffe.render import write_job

SAMPLE = [
    ("root_resnet34", "release-caffe", "ssd", None),
    ("root_resnet34", "release-mmdet", "ssd", None),
    ("root_resnet18", "paper", "refinedet", None),
    ("resnet18_a", "mini", "ssd", None),
    ("resnet50_b", "paper", "ssd", "none"),
    ("resnet101", "refinedet", "refinedet", None),
    ("vgg16", "ssd", "ssd", None),
    ("vgg16", "paper", "ssd", "both"),
    ("vgg16", "refinedet", "refinedet", None),
]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trains") / "shapes"
    words = ["shapes", "--out", str(folder), "--train", "12", "--test", "2", "--size", "64"]
    assert prepare.main(words) == 0
    return folder


@pytest.mark.parametrize(("arch", "recipe", "head", "bn"), SAMPLE)
def test_three_iterations(
    arch: str, recipe: str, head: str, bn: str | None, shapes: Path, tmp_path: Path
) -> None:
    job = plan(
        arch,
        str(shapes),
        recipe,
        size=64,
        head=head,
        bn=bn,
        batch=2,
        gpus="none",
        max_iter=3,
        settings=[
            "backbone.width=0.0625",
            "solver.iter_size=1",
            "solver.base_lr=0.001",
            "solver.random_seed=1",
            "solver.test_interval=0",
            "solver.snapshot=0",
            "solver.debug_info=false",
        ],
        out=str(tmp_path),
    )
    write_job(job)
    caffe.set_mode_cpu()
    solver = caffe.get_solver(f"{job.folder}/solver.prototxt")
    before = {name: blobs[0].data.copy() for name, blobs in solver.net.params.items()}
    solver.step(3)
    losses = [blob for blob in solver.net.blobs if blob.endswith("_loss")]
    assert losses == (["arm_loss", "odm_loss"] if head == "refinedet" else ["mbox_loss"])
    assert all(math.isfinite(float(solver.net.blobs[blob].data.sum())) for blob in losses)
    # BatchNorm's means included. On a map of a few cells no prior may be matched or mined.
    still = {n for n, old in before.items() if np.all(solver.net.params[n][0].data == old)}
    assert not {name for name in still if "_mbox_" not in name}
