"""Runs of several processes: what one is asked for all do, at the same iteration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Together = Callable[..., list[Any]]
PROGRAM = """
import logging, os, signal
import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe.caffeproto import read_solver
from scratchdet_caffe.training import Observer, Run, Signals
logging.getLogger("caffe").addHandler(logging.NullHandler())
caffe.set_mode_cpu()
solver = caffe.get_solver("solver.prototxt")
events, batches = [], []

class Killed(Observer):
    def before_iteration(self, run):
        events.append(("before", run.iteration))
        if (ranks.rank, run.iteration) == at:
            os.kill(os.getpid(), number)

    def gradients_ready(self, run):
        events.append(("loss", run.loss))

def count():
    batches.append(1)
    if (ranks.rank, len(batches)) == in_test:
        os.kill(os.getpid(), number)

solver.test_nets[0].before_each_pass(count)
run = Run(solver, read_solver("solver.prototxt"), [Killed()], Signals(patient=True), ranks)
result = run.go(), run.iteration, events, len(batches)
"""


@pytest.fixture
def run(make: Any, together: Together) -> Any:
    make()

    def run(number: int, at: object = None, in_test: object = None, world: int = 2) -> list[Any]:
        return together(world, f"number, at, in_test = {number}, {at}, {in_test}\n" + PROGRAM)

    return run


def test_one_is_told_to_stop_and_all_do(run: Any) -> None:
    results = run(15, at=(1, 6))
    assert [result[:2] for result in results] == [(128 + 15, 7)] * 2
    assert Path("snap_iter_7.solverstate").is_file()


def test_a_stop_during_a_test_of_the_first(run: Any) -> None:
    (first, second) = run(15, in_test=(0, 5))
    assert first[:2] == second[:2] == (128 + 15, 4)
    assert (first[3], second[3]) == (5, 0)
    assert Path("snap_iter_4.solverstate").is_file()


def test_all_see_the_mean_loss_and_a_snapshot_that_one_is_asked_for(run: Any) -> None:
    results = run(1, at=(1, 2), world=3)
    assert {result[0] for result in results} == {0}
    events = [result[2] for result in results]
    assert events[0] == events[1] == events[2]
    assert Path("snap_iter_3.solverstate").is_file()
