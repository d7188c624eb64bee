"""Twelve iterations of every solver case of the reference, resumed from its own snapshot too."""

from __future__ import annotations

import json
import logging
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_solver
from scratchdet_caffe.engine.solver import Solver
from scratchdet_caffe.engine.weights import load_weights

SOLVERS = Path(__file__).parents[3] / "shared" / "golden" / "solvers"
CASES = sorted(path.parent.name for path in SOLVERS.glob("*/case.json"))
pytestmark = pytest.mark.skipif(not CASES, reason="needs ../shared/golden/solvers")


@pytest.fixture
def in_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Work in a writable copy of the case, laid out as the reference saw it."""

    def enter(case: str) -> dict:
        for file in SOLVERS.glob("*.*"):
            (tmp_path / file.name).symlink_to(file)
        for file in (SOLVERS / case).iterdir():
            shutil.copyfile(file, tmp_path / file.name)
        monkeypatch.chdir(tmp_path)
        return json.loads(Path("case.json").read_text())

    return enter


def make_solver(case: dict) -> tuple[Solver, list[float]]:
    param = read_solver("solver.prototxt")
    param.train_net = case["net"]
    param.snapshot = 0
    solver = Solver(param)
    data = arrays_of("input.npz")
    losses: list[float] = []

    def feed() -> dict[str, torch.Tensor]:
        return {k: torch.from_numpy(data[k][solver.iter]) for k in ("data", "label")}

    def note_loss() -> None:
        losses.append(float(solver.net.loss(solver.outputs)))

    solver.feed = feed
    solver.callbacks.append((lambda: None, note_loss))
    return solver, losses


def arrays_of(path: str) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return dict(arrays)


def state_file(prefix: str, solver: Solver) -> str:
    is_hdf5 = solver.param.snapshot_format == pb.SolverParameter.HDF5
    return f"{prefix}_iter_6.solverstate{'.h5' if is_hdf5 else ''}"


def compare_moves(solver: Solver, golden: dict, when: str, kind: str) -> None:
    share = 1e-3 if kind in ("SGD", "Nesterov") else 1e-2
    init = {k: v for k, v in golden.items() if k.startswith("init/")}
    for param in solver.net.params:
        key = f"{param.layer}/{param.index}"
        want = golden[f"{when}/{key}"]
        start = init[f"init/{key}"]
        got = param.tensor.detach().numpy()
        atol = 1e-6 * np.abs(start).max() + share * np.abs(want - start).max()
        worst = np.abs(got - want).max()
        assert worst <= atol, f"{when} {key}: off by {worst:.2e}, allowed {atol:.2e}"


def golden_of(solver: Solver) -> dict:
    """The trajectory, with the initial blobs (of the net as it is now) beside it."""
    golden = arrays_of("trajectory.npz")
    for param in solver.net.params:
        golden[f"init/{param.layer}/{param.index}"] = param.tensor.detach().numpy().copy()
    return golden


@pytest.mark.parametrize("case", CASES)
def test_trajectory_equals_the_reference(case: str, in_copy, caplog) -> None:
    facts = in_copy(case)
    caplog.set_level(logging.INFO, "caffe")
    solver, losses = make_solver(facts)
    load_weights(solver.net, "init.caffemodel")
    golden = golden_of(solver)
    kind = solver.param.type
    seen = {}

    def note_weights() -> None:
        seen[solver.iter] = {
            f"{p.layer}/{p.index}": p.tensor.detach().numpy().copy() for p in solver.net.params
        }

    solver.callbacks.append((note_weights, lambda: None))
    solver.step(12)
    np.testing.assert_allclose(losses, golden["loss"], rtol=1e-4)
    compare_moves(solver, golden, "after_12", kind)
    for when in (1, 6):
        for param in solver.net.params:
            param.tensor.data.copy_(torch.from_numpy(seen[when][f"{param.layer}/{param.index}"]))
        compare_moves(solver, golden, f"after_{when}", kind)
    text = [record.getMessage() for record in caplog.records]
    rates = [line.split("lr = ")[1] for line in text if ", lr = " in line]
    np.testing.assert_allclose([float(r) for r in rates], [lr for _, lr in facts["lr"]], rtol=1e-5)
    shown = [
        line.split("loss = ")[1] for line in text if line.startswith("Iteration") and "loss" in line
    ]
    np.testing.assert_allclose(
        [float(s) for s in shown], [v for _, v in facts["log_loss"]], rtol=1e-4
    )
    notes = [_wording(line) for line in text if "Status" in line or "clipping" in line]
    assert notes == [_wording(note) for note in facts["log_notes"]]


def _wording(note: str) -> str:
    """A note without its measured numbers, whose last digit may differ."""
    return re.sub(r"(norm|factor|loss =) [\d.e+-]+", r"\1", note)


@pytest.mark.parametrize("case", CASES)
def test_the_references_own_snapshot_continues(case: str, in_copy) -> None:
    facts = in_copy(case)
    solver, losses = make_solver(facts)
    load_weights(solver.net, "init.caffemodel")
    golden = golden_of(solver)
    solver.restore(state_file("snap", solver))
    assert solver.iter == 6
    compare_moves(solver, golden, "resumed_6", solver.param.type)
    solver.step(6)
    np.testing.assert_allclose(losses, golden["loss_resumed"], rtol=1e-4)
    compare_moves(solver, golden, "resumed_12", solver.param.type)


# plateau looks at the running loss, which starts anew after a resume, in Caffe as here.
@pytest.mark.parametrize("case", [case for case in CASES if case != "sgd_plateau"])
def test_six_and_six_equal_twelve_bit_for_bit(case: str, in_copy) -> None:
    facts = in_copy(case)
    whole, _ = make_solver(facts)
    load_weights(whole.net, "init.caffemodel")
    whole.step(12)
    half, _ = make_solver(facts)
    load_weights(half.net, "init.caffemodel")
    half.param.snapshot_prefix = "ours"
    half.step(6)
    half.snapshot()
    rest, _ = make_solver(facts)
    rest.restore(state_file("ours", rest))
    rest.step(6)
    for a, b in zip(whole.net.params, rest.net.params):
        assert torch.equal(a.tensor, b.tensor), f"{a.layer}/{a.index}"
