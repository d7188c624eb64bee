"""Several processes train as one with a batch that is as many times larger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.engine.solver import Solver

Together = Callable[..., list[Any]]
ROWS, ITERATIONS = 40, 8
NORM = """layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }"""
NET = """
layer { name: "rows" type: "HDF5Data" top: "data" top: "label"
  hdf5_data_param { source: "list.txt" batch_size: %d } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 5 kernel_size: 3 weight_filler { type: "msra" } } }
%s
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "unused" type: "InnerProduct" bottom: "conv" top: "unused"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = (
    'base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.001 random_seed: 3 '
    f'max_iter: {ITERATIONS} snapshot_prefix: "together" '
)
# The same for one process and for several; `text` describes the solver.
TRAIN = """
from scratchdet_caffe.caffeproto import caffe_pb2 as pb, parse_text
from scratchdet_caffe.engine.averaging import _Bucket
from scratchdet_caffe.engine.solver import Solver
from scratchdet_caffe.engine import averaging
averaging._BUCKET_BYTES = 1000  # several buckets, too
solver = Solver(parse_text(text, pb.SolverParameter), ranks=ranks)
losses = []
solver.callbacks.append((lambda: None, lambda: losses.append(solver._losses[-1])))
solver.step({iterations})
result = losses, {{f"{{p.layer}}/{{p.index}}": p.tensor.detach().numpy().copy()
                  for p in solver.net.params}}
"""


@pytest.fixture(autouse=True)
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    with h5py.File("rows.h5", "w") as file:
        file["data"] = random.normal(size=(ROWS, 2, 5, 5)).astype(np.float32)
        file["label"] = random.integers(0, 3, ROWS).astype(np.float32)
    Path("list.txt").write_text("rows.h5\n")


def text_of(batch: int, norm: str = "", more: str = "") -> str:
    return f"{SOLVER} {more} net_param {{ {NET % (batch, norm)} }}"


def alone(text: str) -> tuple[list[float], dict[str, np.ndarray]]:
    names: dict[str, Any] = {"ranks": None, "text": text}
    exec(TRAIN.format(iterations=ITERATIONS), names)
    return names["result"]  # type: ignore[no-any-return]


def program(text: str, iterations: int = ITERATIONS) -> str:
    return f"text = {text!r}\n" + TRAIN.format(iterations=iterations)


@pytest.mark.parametrize(
    ("world", "norm", "more"),
    [
        (2, "", ""),
        (4, "", "clip_gradients: 0.5"),
        (2, "", "iter_size: 2 type: 'Adam'"),
        (2, NORM, ""),
        (4, NORM, "iter_size: 2"),
    ],
)
def test_processes_with_batch_b_train_as_one_with_a_larger_batch(
    together: Together, world: int, norm: str, more: str
) -> None:
    losses, weights = alone(text_of(4 * world, norm, more))
    for theirs, their_weights in together(world, program(text_of(4, norm, more)), "sync"):
        np.testing.assert_allclose(theirs, losses, rtol=1e-5)
        for name, values in their_weights.items():
            np.testing.assert_allclose(values, weights[name], rtol=1e-4, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("batch_norm", ["local", "broadcast"])
def test_by_default_each_process_has_its_own_statistics(
    together: Together, batch_norm: str
) -> None:
    """Caffe's rule. What the first process remembers is that of a run on its rows alone."""
    (losses, first), (_, second) = together(2, program(text_of(4, NORM), 1), batch_norm)
    whole, _ = alone(text_of(8, NORM))
    assert abs(losses[0] / whole[0] - 1) > 1e-4
    data = h5py.File("rows.h5")["data"][()]
    for rank, weights in enumerate((first, second)):
        own = alone_on(data[rank:8:2])
        np.testing.assert_allclose(weights["bn/0"], own["bn/0"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(weights["bn/1"], own["bn/1"], rtol=1e-5)
        assert weights["bn/2"] == 1
    for name in ("conv/0", "ip/0", "scale/0"):
        np.testing.assert_array_equal(first[name], second[name])


def test_broadcast_gives_all_the_sums_of_the_first(together: Together) -> None:
    (_, first), (_, second) = together(2, program(text_of(4, NORM), 5), "broadcast")
    (_, own), (_, other) = together(2, program(text_of(4, NORM), 5), "local")
    np.testing.assert_array_equal(first["bn/0"], own["bn/0"])
    # The last pass alone differs: the sums before it came from the first.
    assert np.abs(second["bn/0"] - first["bn/0"]).max() < np.abs(other["bn/0"] - own["bn/0"]).max()


def alone_on(data: np.ndarray) -> dict[str, np.ndarray]:
    """The blobs after one iteration on ``data`` as the whole batch."""
    with h5py.File("own.h5", "w") as file:
        file["data"], file["label"] = data, np.zeros(len(data), np.float32)
    Path("own.txt").write_text("own.h5\n")
    text = text_of(len(data), NORM).replace("list.txt", "own.txt")
    solver = Solver(parse_text(text, pb.SolverParameter))
    solver.step(1)
    return {f"{p.layer}/{p.index}": p.tensor.detach().numpy() for p in solver.net.params}
