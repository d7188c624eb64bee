"""pycaffe's solvers: steps, loops of one's own, live arrays, callbacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import scratchdet_caffe.pycaffe as caffe

RNG = np.random.default_rng(1)
X = RNG.normal(size=(8, 3)).astype(np.float32)
Y = (X @ np.array([[1.0], [-2.0], [0.5]], np.float32)) + 3


def fill(solver: caffe.SGDSolver) -> None:
    solver.net.blobs["x"].data[...] = X
    solver.net.blobs["y"].data[...] = Y


def test_solve_fits_and_arrays_held_before_show_it(solver_file: str) -> None:
    solver = caffe.get_solver(solver_file)
    fill(solver)
    weights, loss = solver.net.params["ip"][0].data, solver.net.blobs["loss"].data
    solver.step(1)
    first = float(loss)
    solver.solve()
    assert solver.iter == 40
    assert float(loss) < 0.05 * first
    np.testing.assert_allclose(weights, [[1, -2, 0.5]], atol=1)


def test_after_a_step_every_blob_shows_that_iteration(solver_file: str) -> None:
    solver = caffe.SGDSolver(solver_file)
    fill(solver)
    before = [blob.data.copy() for blob in solver.net.params["ip"]]
    solver.step(1)
    shown = solver.net.blobs["ip"].data
    np.testing.assert_allclose(shown, X @ before[0].T + before[1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(solver.net.blobs["diff"].data, shown - Y, rtol=1e-4, atol=1e-5)
    assert solver.net.params["ip"][0].diff.any()


@pytest.mark.parametrize(
    "kind",
    [
        "SGDSolver",
        "NesterovSolver",
        "AdaGradSolver",
        "RMSPropSolver",
        "AdaDeltaSolver",
        "AdamSolver",
    ],
)
def test_a_loop_of_ones_own_equals_step(solver_file: str, kind: str) -> None:
    text = Path(solver_file).read_text()
    if kind not in ("SGDSolver", "NesterovSolver", "AdaDeltaSolver", "AdamSolver"):
        text = text.replace("momentum: 0.9", "")
    Path(solver_file).write_text(text)
    automatic, manual = getattr(caffe, kind)(solver_file), getattr(caffe, kind)(solver_file)
    fill(automatic)
    fill(manual)
    for _ in range(3):
        automatic.step(1)
        manual.net.clear_param_diffs()
        manual.net.forward()
        manual.net.backward()
        manual.apply_update()
    assert manual.iter == automatic.iter == 3
    for ours, theirs in zip(manual.net.params["ip"], automatic.net.params["ip"]):
        np.testing.assert_allclose(ours.data, theirs.data, rtol=1e-6)


def test_a_gradient_written_by_hand_is_what_the_update_uses(solver_file: str) -> None:
    solver = caffe.SGDSolver(solver_file)
    weights, gradient = (getattr(solver.net.params["ip"][0], kind) for kind in ("data", "diff"))
    for _ in range(2):  # the second time with arrays that an update has gone through
        solver.net.clear_param_diffs()
        before, history = weights.copy(), 0.0
        gradient[...] = 2
        solver.apply_update()
        assert (weights < before - history).all()
    np.testing.assert_allclose(before - weights, 0.05 * 2 + 0.9 * 0.1, rtol=1e-5)


def test_callbacks_see_each_iteration(solver_file: str) -> None:
    solver = caffe.get_solver(solver_file)
    fill(solver)
    seen: list[tuple[int, float]] = []
    solver.add_callback(
        lambda: None, lambda: seen.append((solver.iter, float(solver.net.blobs["loss"].data)))
    )
    solver.step(3)
    assert [iteration for iteration, _ in seen] == [0, 1, 2]
    assert seen[2][1] < seen[0][1]


def test_a_snapshot_restores_into_arrays_that_somebody_holds(solver_file: str) -> None:
    solver = caffe.get_solver(solver_file)
    fill(solver)
    solver.step(2)
    solver.snapshot()
    weights = solver.net.params["ip"][0].data
    want = weights.copy()
    solver.step(2)
    assert (weights != want).any()
    solver.restore("snap_iter_2.solverstate")
    assert solver.iter == 2
    np.testing.assert_array_equal(weights, want)


def test_a_net_with_the_solvers_weights(solver_file: str) -> None:
    solver = caffe.get_solver(solver_file)
    net = caffe.Net("regression.prototxt", caffe.TEST)
    solver.share_weights(net)
    fill(solver)
    solver.step(5)
    np.testing.assert_array_equal(net.params["ip"][0].data, solver.net.params["ip"][0].data)


def test_a_test_net_is_scored_on_what_its_inputs_hold(
    solver_file: str, caplog: pytest.LogCaptureFixture
) -> None:
    text = Path(solver_file).read_text() + " test_iter: 2 test_interval: 100"
    Path(solver_file).write_text(text)
    solver = caffe.get_solver(solver_file)
    fill(solver)
    tested = solver.test_nets[0].blobs
    tested["x"].data[...], tested["y"].data[...] = X, Y
    with caplog.at_level("INFO", "caffe"):
        solver.step(1)
    shown = [line for line in caplog.messages if "Test net output" in line]
    want = float(solver.net.blobs["loss"].data)  # before the update, as the test was
    assert float(shown[0].split("loss = ")[1].split()[0]) == pytest.approx(want, rel=1e-4)
