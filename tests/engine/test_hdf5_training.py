"""Training that snapshots in HDF5: shared blobs, gradients, resume, and the newest state found."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text, read_model
from scratchdet_caffe.engine.net import Net
from scratchdet_caffe.engine.solver import Solver
from scratchdet_caffe.engine.weights import load_weights, save_weights
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.snapshots import find_snapshots, newest_complete

CONV = """
layer {{
  name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" {param}
  convolution_param {{ num_output: 2 kernel_size: 3 pad: 1 weight_filler {{ type: "xavier" }} }}
}}
"""
DATA = """
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 2 dim: 4 dim: 4 } } }
"""
LOSS = 'layer { name: "loss" type: "Power" bottom: "b" top: "loss" loss_weight: 0.01 }'
SHARED = 'param { name: "w" }'


def net_of(first: str = SHARED, second: str = SHARED) -> pb.NetParameter:
    a = CONV.format(name="a", bottom="data", param=first)
    b = CONV.format(name="b", bottom="a", param=second)
    return parse_text(DATA + a + b + LOSS, pb.NetParameter)


def solver_in(folder: Path, kind: str = "HDF5", **more: object) -> Solver:
    param = pb.SolverParameter(
        base_lr=0.1,
        momentum=0.9,
        lr_policy="fixed",
        random_seed=1,
        snapshot_prefix=str(folder / "net"),
        snapshot_format=pb.SolverParameter.SnapshotFormat.Value(kind),
        train_net_param=net_of(),
        **more,
    )
    solver = Solver(param)
    values = torch.linspace(-1, 1, 32).reshape(1, 2, 4, 4)
    solver.feed = lambda: {"data": values + solver.iter}
    return solver


def blobs_of(net: Net) -> list[np.ndarray]:
    return [param.tensor.detach().numpy().copy() for param in net.params]


@pytest.mark.parametrize("kind", ["HDF5", "BINARYPROTO"])
def test_three_and_three_equal_six_with_shared_blobs(kind: str, tmp_path: Path) -> None:
    whole = solver_in(tmp_path, kind)
    whole.step(6)
    half = solver_in(tmp_path, kind)
    half.step(3)
    half.snapshot()
    (state,) = find_snapshots(str(tmp_path / "net"))
    rest = solver_in(tmp_path, kind)
    rest.restore(str(state))
    rest.step(3)
    for a, b in zip(blobs_of(whole.net), blobs_of(rest.net), strict=True):
        np.testing.assert_array_equal(a, b)
    assert rest.iter == 6


def test_a_shared_blob_is_stored_once_and_only_a_net_that_shares_it_accepts_that(
    tmp_path: Path,
) -> None:
    net = Net(net_of(), pb.TRAIN)
    path = tmp_path / "w.caffemodel.h5"
    save_weights(net, path)
    with h5py.File(path) as file:
        assert {name: list(file["data"][name]) for name in ("a", "b")} == {
            "a": ["0", "1"],
            "b": ["1"],
        }
    other = Net(net_of(), pb.TRAIN, seed=5)
    load_weights(other, path)
    for a, b in zip(blobs_of(net), blobs_of(other), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(UserError, match="layer 'b' has 1 blobs there, but 2 in net"):
        load_weights(Net(net_of("", ""), pb.TRAIN), path)


@pytest.mark.parametrize(("kind", "end"), [("HDF5", ".h5"), ("BINARYPROTO", "")])
def test_snapshot_diff_stores_the_gradients(kind: str, end: str, tmp_path: Path) -> None:
    solver = solver_in(tmp_path, kind, snapshot_diff=True)
    solver.step(1)
    path = solver.snapshot()
    assert path == str(tmp_path / f"net_iter_1.caffemodel{end}")
    want = solver.net.params[0].tensor.grad.numpy()
    if end:
        with h5py.File(path) as file:
            np.testing.assert_array_equal(file["diff/a/0"], want)
    else:
        stored = {
            layer.name: layer.blobs[0].diff for layer in read_model(path).layer if layer.blobs
        }
        np.testing.assert_array_equal(stored["a"], want.ravel())
        np.testing.assert_array_equal(stored["b"], want.ravel())  # one blob, one gradient


def test_the_newest_complete_snapshot_is_found_whatever_its_format(tmp_path: Path) -> None:
    prefix = str(tmp_path / "net")
    for iterations, kind in ((1, "HDF5"), (2, "BINARYPROTO"), (10, "HDF5")):
        solver = solver_in(tmp_path, kind)
        solver.step(iterations)
        solver.snapshot()
    names = ["net_iter_1.solverstate.h5", "net_iter_2.solverstate", "net_iter_10.solverstate.h5"]
    assert [path.name for path in find_snapshots(prefix)] == names
    assert newest_complete(prefix) == (tmp_path / names[2], [])
    weights = tmp_path / "net_iter_10.caffemodel.h5"
    weights.write_bytes(weights.read_bytes()[:1000])
    state, (reason,) = newest_complete(prefix)
    assert state == tmp_path / names[1]
    assert "net_iter_10.caffemodel.h5: has not the size with which it was written" in reason
    (tmp_path / "net_iter_10.state.json").unlink()  # without which nobody knows the size
    state, (reason,) = newest_complete(prefix)
    assert state == tmp_path / names[1]
    assert "net_iter_10.caffemodel.h5: not a complete HDF5 snapshot (1000 bytes)" in reason


def test_a_state_of_another_net_changes_nothing(tmp_path: Path) -> None:
    solver = solver_in(tmp_path)
    solver.snapshot()
    state = tmp_path / "net_iter_0.solverstate.h5"
    with h5py.File(state, "a") as file:
        del file["history/2"]
    with pytest.raises(UserError, match="holds 2 history blobs, but solver type 'SGD' needs 3"):
        solver.restore(str(state))
    with h5py.File(state, "a") as file:
        file["history/2"] = np.zeros(7, np.float32)
    before = blobs_of(solver.net)
    with pytest.raises(UserError, match=r"history of blob 1 of layer 'b' has shape \(7,\) there"):
        solver.restore(str(state))
    for a, b in zip(before, blobs_of(solver.net), strict=True):
        np.testing.assert_array_equal(a, b)
