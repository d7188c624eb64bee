"""Small nets that the tests of the module share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe.pycaffe import __main__

CONV_NET = """
name: "small"
force_backward: true
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 2 dim: 3 dim: 6 dim: 6 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""

REGRESSION = """
name: "regression"
layer { name: "data" type: "Input" top: "x" top: "y"
  input_param { shape { dim: 8 dim: 3 } shape { dim: 8 dim: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
  inner_product_param { num_output: 1 weight_filler { type: "xavier" } } }
layer { name: "diff" type: "Eltwise" bottom: "ip" bottom: "y" top: "diff"
  eltwise_param { coeff: 1 coeff: -1 } }
layer { name: "loss" type: "Reduction" bottom: "diff" top: "loss" loss_weight: 0.125
  reduction_param { operation: SUMSQ } }
"""


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    caffe.set_mode_cpu()
    caffe.set_random_seed(3)
    yield
    caffe.mode._Mode.seed = None  # as at the start of a program


@pytest.fixture
def conv_net() -> caffe.Net:
    Path("small.prototxt").write_text(CONV_NET)
    return caffe.Net("small.prototxt", caffe.TEST)


@pytest.fixture
def solver_file() -> str:
    """A solver over a linear regression whose inputs the caller fills."""
    Path("regression.prototxt").write_text(REGRESSION)
    Path("solver.prototxt").write_text(
        'net: "regression.prototxt" base_lr: 0.05 momentum: 0.9 lr_policy: "fixed" '
        'max_iter: 40 snapshot_prefix: "snap" random_seed: 1'
    )
    return "solver.prototxt"


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """The launcher of programs, in this process, which gets its own state back afterwards."""
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield lambda *argv: __main__.main(list(argv))
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("caffe", "my_layers", "package"):
            del sys.modules[name]
