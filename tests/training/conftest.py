"""A solver small enough to be trained within a test, and the room to train it in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe.caffeproto import read_solver

NET = """
name: "tiny"
layer { name: "data" type: "DummyData" top: "x" top: "label" dummy_data_param {
  shape { dim: 4 dim: 6 } shape { dim: 4 } data_filler { type: "gaussian" std: 1 }
  data_filler { type: "constant" value: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "acc" type: "Accuracy" bottom: "ip" bottom: "label" top: "acc"
  include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = {
    "net": '"net.prototxt"', "test_iter": 3, "test_interval": 4, "base_lr": 0.1,
    "lr_policy": '"fixed"', "momentum": 0.9, "max_iter": 10, "snapshot_prefix": '"snap"',
    "random_seed": 1, "solver_mode": "CPU",
}  # fmt: skip


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    caffe.set_mode_cpu()


@pytest.fixture
def make() -> Any:
    """Make the solver with other fields, and what it was made from."""

    def make(net: str = NET, **fields: object) -> tuple[Any, Any]:
        Path("net.prototxt").write_text(net)
        text = "\n".join(f"{name}: {value}" for name, value in {**SOLVER, **fields}.items())
        Path("solver.prototxt").write_text(text)
        return caffe.get_solver("solver.prototxt"), read_solver("solver.prototxt")

    return make
