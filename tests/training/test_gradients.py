"""The trace of gradients beside what the solver shows, and over a resume."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchdet_caffe.training import Observer, Run
from scratchdet_caffe.training.gradients import TRACE_FILE, GradientTrace, gradient_norm


class Diffs(Observer):
    """Notes loss and norm of what ``params[...].diff`` hold."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, float, float]] = []

    def gradients_ready(self, run: Run) -> None:
        diffs = [b.diff.ravel() for blobs in run.solver.net.params.values() for b in blobs]
        norm = float(np.linalg.norm(np.concatenate(diffs).astype(np.float64)))
        self.rows.append((run.iteration, run.loss, norm))


class OnlyPycaffe:
    """A solver that has what SSD-Caffe's has, and no more."""

    def __init__(self, solver: Any) -> None:
        self.net = solver.net


def trace() -> list[tuple[int, float, float]]:
    with Path(TRACE_FILE).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [(int(r["iteration"]), float(r["loss"]), float(r["gradient_norm"])) for r in rows]


@pytest.mark.parametrize("passes", [1, 3])
def test_every_iteration_has_its_loss_and_the_norm_of_its_gradient(make: Any, passes: int) -> None:
    diffs = Diffs()
    Run(*make(iter_size=passes), [GradientTrace("snap"), diffs]).go()
    expected = [(i, loss, norm / passes) for i, loss, norm in diffs.rows]
    assert len(expected) == 10
    np.testing.assert_allclose(trace(), expected, rtol=1e-5)
    assert max(norm for *_, norm in expected) > 0


def test_a_solver_of_the_real_caffe_gives_the_same_norm(make: Any) -> None:
    solver, _ = make()
    norms = []

    class Both(Observer):
        def gradients_ready(self, run: Run) -> None:
            norms.append((gradient_norm(solver), gradient_norm(OnlyPycaffe(solver))))

    Run(solver, make()[1], [Both()]).go()
    ours, theirs = zip(*norms)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_tracing_does_not_change_the_training(make: Any) -> None:
    weights = []
    for observers in ([], [GradientTrace("snap")]):
        solver, param = make()
        Run(solver, param, observers).go()
        weights.append(solver.net.params["ip"][0].data.copy())
    np.testing.assert_array_equal(*weights)


def test_a_resumed_run_goes_on_where_it_goes_on_itself(make: Any) -> None:
    Run(*make(snapshot=4), [GradientTrace("snap")]).go()
    unbroken = Path(TRACE_FILE).read_text()

    lines = unbroken.splitlines(keepends=True)
    Path(TRACE_FILE).write_text("".join(lines[:7]) + "6,0.1")  # killed while writing line 6
    solver, param = make(snapshot=4)
    solver.restore("snap_iter_4.solverstate")
    Run(solver, param, [GradientTrace("snap")]).go()
    assert [row[0] for row in trace()] == list(range(10))
    assert Path(TRACE_FILE).read_text().splitlines()[:5] == unbroken.splitlines()[:5]


def test_a_run_from_the_start_begins_the_file_anew(make: Any) -> None:
    Path(TRACE_FILE).write_text("iteration,loss,gradient_norm\n0,1,1\n1,1,1\n")
    Run(*make(max_iter=1), [GradientTrace("snap")]).go()
    assert [row[0] for row in trace()] == [0]
