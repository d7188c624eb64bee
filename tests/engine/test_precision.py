"""Mixed precision: half floats where they do no harm, float32 where they would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe import engine
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.solver import Solver
from scratchdet_caffe.engine.weights import load_weights
from scratchdet_caffe.errors import UserError


@pytest.fixture
def in_bf16() -> Iterator[None]:
    flags = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [flag.allow_tf32 for flag in flags]
    caffe.set_precision("bf16")
    yield
    caffe.mode._Mode.precision = "float32"  # as at the start of a program
    for flag, allowed in zip(flags, before):
        flag.allow_tf32 = allowed


@pytest.fixture
def detector(shared: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """A small complete SSD of the reference: its folder, and a batch for it."""
    monkeypatch.chdir(shared / "golden" / "wholenet" / "rootres_a")
    with np.load("input.npz") as arrays:
        return {blob: torch.from_numpy(values) for blob, values in arrays.items()}


def solver(batch: dict[str, torch.Tensor], precision: str) -> Solver:
    param = pb.SolverParameter(base_lr=0.001, lr_policy="fixed", momentum=0.9, random_seed=1)
    param.net, param.test_iter[:], param.test_interval = "train.prototxt", [1], 100
    param.test_initialization = False
    made = Solver(param, precision=precision)
    made.feed = lambda: batch
    load_weights(made.net, "init.caffemodel")
    return made


def test_training_in_bf16_follows_training_in_float32(detector: dict[str, torch.Tensor]) -> None:
    full, half = (solver(detector, precision) for precision in ("float32", "bf16"))
    start = [p.tensor.detach().clone() for p in full.net.params]
    for one in (full, half):
        one.step(3)
    assert half.smoothed_loss == pytest.approx(full.smoothed_loss, rel=0.01)
    assert half.smoothed_loss != full.smoothed_loss
    moves = [
        torch.cat([(p.tensor.detach() - s).flatten() for p, s in zip(one.net.params, start)])
        for one in (full, half)
    ]
    assert torch.cosine_similarity(*moves, dim=0) > 0.99


def test_what_must_stay_float32_does(detector: dict[str, torch.Tensor]) -> None:
    half = solver(detector, "bf16")
    blobs = half.net(detector, keep=["stem_1", "conv3_1", "mbox_conf"])
    assert {blobs[name].dtype for name in ("stem_1", "conv3_1")} == {torch.bfloat16}
    assert blobs["mbox_loss"].dtype == torch.float32
    half.step(1)
    for tensor in (*(p.tensor for p in half.net.params), *half.history):
        assert tensor.dtype == torch.float32
    assert {p.grad.dtype for p in half.net.parameters() if p.grad is not None} == {torch.float32}
    tests = half.test_nets[0](detector, keep=["conv3_1"])
    assert tests["conv3_1"].dtype == torch.float32


def test_the_module_computes_under_autocast_as_users_write_it(
    detector: dict[str, torch.Tensor],
) -> None:
    net = engine.load("train.prototxt", "init.caffemodel", engine.TRAIN)
    with torch.autocast("cpu", torch.bfloat16):
        blobs = net(detector, keep=["conv3_1"])
        net.loss(blobs).backward()
    assert blobs["conv3_1"].dtype == torch.bfloat16
    assert blobs["mbox_loss"].dtype == torch.float32


@pytest.mark.usefixtures("in_bf16")
def test_every_layer_of_the_reference_runs_in_bf16(
    shared: Path, replay: Callable, compared: Callable
) -> None:
    cases = sorted((shared / "golden" / "layers").glob("*/meta.json"))
    assert len(cases) > 300
    for case in cases:
        _, net, golden = replay(case.parent)
        for key, got, want in compared(net, golden):
            known = np.isfinite(want)
            got, want = got.reshape(want.shape)[known], want[known]
            assert got.dtype == np.float32
            off = np.abs(got - want).max(initial=0) / np.abs(want).max(initial=1e-6)
            assert off < 0.02, f"{case.parent.name} {key}: off by {off:.3f} of its largest value"


@pytest.mark.usefixtures("in_bf16")
def test_a_solver_of_pycaffe_takes_the_precision(detector: dict[str, torch.Tensor]) -> None:
    param = pb.SolverParameter(net="train.prototxt", base_lr=0.001, lr_policy="fixed")
    made = caffe.SGDSolver(param)
    for blob, values in detector.items():
        made.net.blobs[blob].data[...] = values
    made.step(1)
    assert made.net.blobs["conv3_1"].data.dtype == np.float32
    shown = torch.from_numpy(made.net.blobs["conv3_1"].data)
    assert torch.equal(shown, shown.bfloat16().float())  # it was computed in half floats


def test_an_unknown_precision_is_a_sentence() -> None:
    with pytest.raises(UserError, match="no precision 'bf61' .did you mean 'bf16'"):
        caffe.set_precision("bf61")
