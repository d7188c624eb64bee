"""Numbers that are no numbers: found at once, traced to their layer, and survived if asked."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe.training import Observer, Run
from scratchdet_caffe.training.alarm import MOST_SKIPPED, Alarm
from scratchdet_caffe.training.culprit import find_culprit

NET = """
name: "layered"
layer { name: "data" type: "DummyData" top: "x" top: "label" dummy_data_param {
  shape { dim: 4 dim: 6 } shape { dim: 4 } data_filler { type: "gaussian" std: 1 }
  data_filler { type: "constant" value: 1 } } }
layer { name: "one" type: "InnerProduct" bottom: "x" top: "one"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "norm" type: "BatchNorm" bottom: "one" top: "one" }
layer { name: "scale" type: "Scale" bottom: "one" top: "one" }
layer { name: "relu" type: "ReLU" bottom: "one" top: "one" }
%s
layer { name: "two" type: "InnerProduct" bottom: "one" top: "two"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "two" bottom: "label" top: "loss"
  include { phase: TRAIN } }
layer { name: "seen" type: "SoftmaxWithLoss" bottom: "two" bottom: "label" top: "seen"
  include { phase: TEST } }
"""
PYTHON = """layer { name: "odd" type: "Python" bottom: "one" top: "one"
  python_param { module: "odd_layer" layer: "Odd" } }"""
# Counts its calls, so that a second pass over the batch would not show what went wrong.
ODD_LAYER = """
import caffe, numpy as np

class Odd(caffe.Layer):
    calls = 0

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        type(self).calls += self.phase == caffe.TRAIN
        top[0].data[...] = bottom[0].data
        if type(self).calls == 4 and self.phase == caffe.TRAIN:
            top[0].data[1, 2] = np.nan

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = top[0].diff
"""


class Poison(Observer):
    """Writes a number into a parameter before the iteration of this number."""

    def __init__(self, at: int, layer: str, value: float, times: int = 1) -> None:
        self.at, self.layer, self.value, self.times = at, layer, value, times
        self.sound: Any = None

    def before_iteration(self, run: Run) -> None:
        weights = run.solver.net.params[self.layer][0].data
        if self.sound is not None:
            weights[0] = self.sound
            self.sound = None
        if self.at <= run.iteration < self.at + self.times:
            self.sound = weights[0].copy()
            weights[0] = self.value


@pytest.mark.parametrize("layer", ["one", "two"])
def test_a_poisoned_weight_stops_the_run_at_once_and_is_named(
    make: Any, layer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    solver, param = make(NET % "", snapshot=2, random_seed=5)
    run = Run(solver, param, [Poison(5, layer, math.nan), Alarm()])
    assert (run.go(), run.iteration) == (3, 5)
    said = capsys.readouterr().err
    assert "the loss is nan at iteration 5: the run diverged" in said
    assert f"'{layer}': its parameter blob 0 holds nan (batch: pass 5)" in said
    again = caffe.Net("net.prototxt", "snap_iter_4.caffemodel", caffe.TRAIN)
    assert all(np.isfinite(blob.data).all() for blobs in again.params.values() for blob in blobs)


def test_a_loss_that_is_finite_does_not_hide_a_gradient_that_is_not(
    make: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (diff,) = re.findall(r"bottom\[0\].diff.*", ODD_LAYER)
    spoils = f"{diff}\n        if type(self).calls >= 3: bottom[0].diff[...] = np.inf"
    layer = ODD_LAYER.replace("[1, 2] = np.nan", "[1, 2] = 0").replace(diff, spoils)
    Path("odd_gradient.py").write_text(layer)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    solver, param = make(NET % PYTHON.replace("odd_layer", "odd_gradient"))
    run = Run(solver, param, [Alarm()])
    assert (run.go(), run.iteration) == (3, 2)
    said = capsys.readouterr().err
    assert "the gradient is" in said
    assert "'odd': the gradient of its bottom 'one' holds inf" in said


@pytest.mark.parametrize("snapshot", [2, 0])
def test_statistics_that_are_lost_end_the_run_though_its_loss_is_finite(
    make: Any, snapshot: int, capsys: pytest.CaptureFixture[str]
) -> None:
    solver, param = make(NET % "", snapshot=snapshot, random_seed=5)
    run = Run(solver, param, [Poison(3, "norm", math.inf, times=99), Alarm()])
    assert run.go() == 3
    assert run.iteration == (3 if snapshot else param.max_iter - 1)
    assert math.isfinite(run.loss)
    said = capsys.readouterr().err
    assert f"blob 0 of layer 'norm' holds inf at iteration {run.iteration}: the run div" in said
    assert bool(list(Path().glob("*_iter_2.caffemodel"))) == bool(snapshot)
    assert not list(Path().glob(f"*_iter_{run.iteration + 1}.*"))


def test_what_the_last_update_spoils_ends_as_diverged(
    make: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    class Spoil(Observer):
        def gradients_ready(self, run: Run) -> None:
            run.solver.net.params["two"][0].diff[...] = math.inf

    solver, param = make(NET % "", max_iter=1, random_seed=5)
    assert Run(solver, param, [Alarm(), Spoil()]).go() == 3
    said = capsys.readouterr().err
    assert re.search("blob 0 of layer 'two' holds (inf|nan) at iteration 1: the run div", said)
    assert not list(Path().glob("*.caffemodel"))


def test_a_layer_in_python_that_differs_the_second_time_is_named_all_the_same(
    make: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("odd_layer.py").write_text(ODD_LAYER)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    solver, param = make(NET % PYTHON, snapshot=3)
    run = Run(solver, param, [Alarm()])
    assert (run.go(), run.iteration) == (3, 3)
    said = capsys.readouterr().err
    assert "'odd': its top 'one' held nan" in said
    # The snapshot of this very iteration was written before, and has no part in it.
    assert Path("snap_iter_3.solverstate").is_file() and "spoilt" not in said


def test_a_snapshot_whose_weights_give_no_numbers_is_set_apart(
    make: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    large = (NET % "").replace("BatchNorm", "AbsVal").replace("std: 1 ", "std: 1e10 ")
    run = Run(*make(large, snapshot=1, base_lr=1e15), [Alarm()])
    assert (run.go(), run.iteration) == (3, 1)  # after an update to about 1e25
    assert "now snap_iter_1.caffemodel.diverged" in capsys.readouterr().err
    assert not Path("snap_iter_1.solverstate").exists()


def test_a_replay_leaves_the_solver_as_it_was(make: Any) -> None:
    def train(look: bool) -> dict[str, np.ndarray]:
        class Look(Observer):
            def gradients_ready(self, run: Run) -> None:
                if look and run.iteration == 3:
                    grads = [p.tensor.grad.clone() for p in params if p.tensor.grad is not None]
                    assert find_culprit(run) is None
                    for p, grad in zip([p for p in params if p.tensor.grad is not None], grads):
                        p.tensor.grad.copy_(grad)

        solver, param = make(NET % "", iter_size=2)
        params = solver._solver.net.params
        Run(solver, param, [Look()]).go()
        return {name: blobs[0].data.copy() for name, blobs in solver.net.params.items()}

    for name, values in train(True).items():
        np.testing.assert_array_equal(values, train(False)[name], err_msg=name)


def test_skipping_leaves_weights_and_statistics_as_they_were(
    make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A batch that holds NaN costs its own update and nothing else."""
    solver, param = make(NET % "", max_iter=8)
    values = {}

    class Batch(Observer):
        def before_iteration(self, run: Run) -> None:
            values[run.iteration] = {
                f"{name}/{i}": blob.data.copy()
                for name, blobs in run.solver.net.params.items()
                for i, blob in enumerate(blobs)
            }

    rows = solver._solver.net.layers[0]
    forward = rows.forward

    def spoilt(*bottoms: Any) -> Any:
        data, label = forward()
        if rows.position == 4:
            data[0, 0] = math.inf
        return data, label

    rows.forward = spoilt
    assert Run(solver, param, [Batch(), Alarm("skip")]).go() == 0
    assert "Iteration 3, loss = nan: update skipped" in caplog.text
    assert "'data': its top 'x' holds inf" in caplog.text
    for name in values[3]:
        np.testing.assert_array_equal(values[4][name], values[3][name], err_msg=name)
    assert (values[5]["two/0"] != values[4]["two/0"]).any()
    assert all(np.isfinite(value).all() for value in values[7].values())


def test_skipping_ends_where_the_weights_themselves_are_lost(make: Any) -> None:
    run = Run(*make(NET % ""), [Poison(5, "two", math.nan), Alarm("skip")])
    assert (run.go(), run.iteration) == (3, 5)


def test_skipping_has_an_end(make: Any) -> None:
    solver, param = make(NET % "", max_iter=50)
    rows = solver._solver.net.layers[0]
    forward = rows.forward
    rows.forward = lambda *bottoms: tuple(top * math.nan for top in forward()[:1]) + forward()[1:]
    run = Run(solver, param, [Alarm("skip")])
    assert (run.go(), run.iteration) == (3, MOST_SKIPPED)


def test_the_process_whose_batch_is_spoilt_is_named(
    make: Any, together: Callable[..., list[Any]]
) -> None:
    make(NET % "", snapshot=2)
    results = together(2, f"NET = {NET % ''!r}\n" + SPOILT)
    assert [result[:2] for result in results] == [(3, 5)] * 2
    said = results[0][2]
    assert "process 1: the first layer with such a number is 'data': its top 'x' holds inf" in said
    assert said == results[1][2]


SPOILT = """
import logging
import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe.caffeproto import read_solver
from scratchdet_caffe.training import Run, Signals
from scratchdet_caffe.training import run as running
from scratchdet_caffe.training.alarm import Alarm
logging.getLogger("caffe").addHandler(logging.NullHandler())
caffe.set_mode_cpu()
solver = caffe.get_solver("solver.prototxt")
rows = solver._solver.net.layers[0]
forward = rows.forward
def spoilt(*bottoms):
    data, label = forward()
    if rows.position == 6 and ranks.rank == 1:
        data[0, 0] = float("inf")
    return data, label
rows.forward = spoilt
said = []
running.say = said.append
run = Run(solver, read_solver("solver.prototxt"), [Alarm()], Signals(patient=True), ranks)
result = run.go(), run.iteration, said[0]
"""
