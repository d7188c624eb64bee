"""A run that diverges goes on from before with half the rate, and remembers it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe.caffeproto import format_text, read_solver
from scratchdet_caffe.training import Run
from scratchdet_caffe.training.alarm import Alarm
from scratchdet_caffe.training.lowering import MOST_LOWERED, go_lowering, solver_to_use
from scratchdet_caffe.training.start import Start, load_start

# A parabola in each weight: gradient descent diverges above a rate of about 2.
NET = """
name: "parabola"
layer { name: "data" type: "DummyData" top: "x" top: "wanted" dummy_data_param {
  shape { dim: 64 dim: 2 } shape { dim: 64 dim: 1 } data_filler { type: "gaussian" std: 1 }
  data_filler { type: "constant" value: 0 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
  inner_product_param { num_output: 1 weight_filler { type: "constant" value: 1 } } }
layer { name: "acc" type: "EuclideanLoss" bottom: "ip" bottom: "wanted" top: "acc"
  include { phase: TEST } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "wanted" top: "loss"
  include { phase: TRAIN } }
"""


def go(make: Any, **fields: object) -> tuple[int, list[tuple[float, int]]]:
    """Train; return the status, and rate and first iteration of every attempt."""
    tried = []

    def anew(file: Path, start: Start) -> Run:
        solver, param = caffe.get_solver(str(file)), read_solver(file)
        load_start(solver, start)
        tried.append((param.base_lr, solver.iter))
        return Run(solver, param, [Alarm("lower-lr")])

    make(NET, momentum=0, **fields)
    return go_lowering(anew(Path("solver.prototxt"), Start()), Start(), anew), tried


def test_the_rate_is_halved_until_the_run_holds(
    make: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    status, tried = go(make, base_lr=8, max_iter=300, snapshot=20)
    assert status == 0
    rates = [rate for rate, _ in tried]
    assert rates == [8 / 2**i for i in range(len(rates))] and 3 <= len(rates) <= 4
    assert "goes on with base_lr 4 instead of 8" in capsys.readouterr().err
    starts = [first for _, first in tried]
    assert 0 < starts[1] < 300
    # What the first attempt spoilt, though finite, is not where the last one began.
    assert starts[-1] <= starts[1]
    assert Path("snap_iter_300.solverstate").is_file()
    assert read_solver("snap_lowered.prototxt").base_lr == rates[-1]


def test_it_has_an_end(make: Any) -> None:
    status, tried = go(make, base_lr=1e9, max_iter=200)
    assert (status, len(tried)) == (3, MOST_LOWERED + 1)
    assert all(first == 0 for _, first in tried)


def test_a_resumed_run_takes_the_lower_rate_unless_the_solver_has_changed(make: Any) -> None:
    make(NET)
    param = read_solver("solver.prototxt")
    param.base_lr /= 2
    Path("snap_lowered.prototxt").write_text(format_text(param))
    ours, lowered = Path("solver.prototxt"), Path("snap_lowered.prototxt")
    assert solver_to_use(ours, "snap", Start("snap_iter_1.solverstate")) == lowered
    assert solver_to_use(ours, "snap", Start()) == ours
    make(NET, weight_decay=0.1)
    assert solver_to_use(ours, "snap", Start("snap_iter_1.solverstate")) == ours
