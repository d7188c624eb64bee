"""The lines of debug_info: Caffe's text, and the numbers that the passes really have."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.engine.solver import Solver

NET = """
layer { name: "in" type: "DummyData" top: "x" top: "t" dummy_data_param {
        shape { dim: 2 dim: 3 dim: 4 dim: 4 } shape { dim: 2 dim: 2 dim: 4 dim: 4 }
        data_filler { type: "gaussian" } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 2
        kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "c" top: "c" }
layer { name: "scale" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "c" top: "c" }
layer { name: "twice" type: "Power" bottom: "c" top: "p" power_param { scale: 2 } }
layer { name: "sum" type: "Eltwise" bottom: "c" bottom: "p" top: "s" }
layer { name: "loss" type: "EuclideanLoss" bottom: "s" bottom: "t" top: "loss" }
"""


def solver(**more: object) -> Solver:
    param = pb.SolverParameter(base_lr=1e-4, lr_policy="fixed", random_seed=4, display=2, **more)
    param.net_param.CopyFrom(parse_text(NET, pb.NetParameter))
    return Solver(param)


def lines(caplog: pytest.LogCaptureFixture, of: Solver, iterations: int) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.INFO, "caffe"):
        of.step(iterations)
    return [message for message in caplog.messages if message.startswith("    [")]


def value(shown: list[str], head: str) -> float:
    (line,) = (line for line in shown if line.startswith(f"    {head}"))
    return float(line.rpartition(" ")[2])


def test_forward_backward_and_norms_are_shown_at_display_iterations_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shown = lines(caplog, solver(debug_info=True), 1)
    assert [re.sub(r"[-.\de+]+$", "#", line.strip()) for line in shown[:8]] == [
        "[Forward] Layer in, top blob x data: #",
        "[Forward] Layer in, top blob t data: #",
        "[Forward] Layer conv, top blob c data: #",
        "[Forward] Layer conv, param blob 0 data: #",
        "[Forward] Layer conv, param blob 1 data: #",
        "[Forward] Layer bn, top blob c data: #",
        "[Forward] Layer bn, param blob 0 data: #",
        "[Forward] Layer bn, param blob 1 data: #",
    ]
    number = r"[-.\de+]+"
    assert re.fullmatch(
        rf"    \[Backward\] All net params \(data, diff\): "
        rf"L1 norm = \({number}, {number}\); L2 norm = \({number}, {number}\)",
        shown[-1],
    )
    backward = [line.split("Layer ")[1].split(",")[0] for line in shown[:-1] if "[Back" in line]
    order = ["loss", "sum", "sum", "twice", "c_relu_0_split", "relu", "scale", "scale", "scale"]
    assert backward == [*order, "bn", "bn", "bn", "bn", "conv", "conv"]
    per_pass = len(shown)
    assert len(lines(caplog, solver(debug_info=True), 4)) == 2 * per_pass
    assert len(lines(caplog, solver(debug_info=True, iter_size=2), 1)) == 2 * per_pass
    assert not lines(caplog, solver(), 3)


def test_sizes_are_means_of_absolute_values(caplog: pytest.LogCaptureFixture) -> None:
    one = solver(debug_info=True)
    weights = float(one.net.params[0].tensor.detach().abs().mean())
    shown = lines(caplog, one, 1)
    assert value(shown, "[Forward] Layer conv, param blob 0") == pytest.approx(weights, rel=1e-5)
    top = value(shown, "[Forward] Layer scale, top blob c")
    assert value(shown, "[Forward] Layer relu, top blob c") < top
    assert value(shown, "[Forward] Layer bn, param blob 2") == 1
    assert value(shown, "[Backward] Layer bn, param blob 2") == 0
    grads = [p.tensor.grad for p in one.net.params if p.tensor.grad is not None]
    data, diff = re.findall(r"L2 norm = \((.*), (.*)\)", shown[-1])[0]
    norm = float(torch.cat([g.flatten() for g in grads]).norm())
    assert float(diff) == pytest.approx(norm, rel=1e-5)
    assert float(data) > 0
    # Each reader of a blob shows its own gradient, not the sum over all readers.
    through_sum = value(shown, "[Backward] Layer sum, bottom blob c_relu_0_split_1")
    assert value(shown, "[Backward] Layer sum, bottom blob p") == pytest.approx(through_sum)
    through_power = value(shown, "[Backward] Layer twice, bottom blob c_relu_0_split_0")
    assert through_power == pytest.approx(2 * through_sum, rel=1e-5)
    both = value(shown, "[Backward] Layer c_relu_0_split, bottom blob c")
    assert both == pytest.approx(3 * through_sum, rel=1e-5)


def test_looking_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    seen, unseen = solver(debug_info=True), solver()
    assert lines(caplog, seen, 3)
    unseen.step(3)
    for mine, theirs in zip(seen.net.params, unseen.net.params):
        np.testing.assert_allclose(
            mine.tensor.detach(), theirs.tensor.detach(), rtol=1e-5, atol=1e-6
        )


def test_the_lines_are_the_reference_s(shared: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = (shared / "golden/logs/debug_info.log").read_text()
    line = r"    (\[\w+\]) Layer (\S+), ((?:top|bottom|param) blob \S+)"
    theirs = re.findall(line, log)
    text = (shared / "golden/logs/train.prototxt").read_text()
    text = text.replace('"lmdb_', f'"{shared}/golden/data/lmdb_')
    text = text.replace('"labelmap', f'"{shared}/golden/data/labelmap')
    param = pb.SolverParameter(base_lr=0.02, lr_policy="fixed", random_seed=3, display=10)
    param.debug_info = True
    param.net_param.CopyFrom(parse_text(text, pb.NetParameter))
    shown = lines(caplog, Solver(param), 1)
    assert re.findall(line, "\n".join(shown)) == theirs


@pytest.mark.parametrize("shown", [True, False])
def test_test_compute_loss_shows_the_mean_loss_before_the_outputs(
    caplog: pytest.LogCaptureFixture, shown: bool
) -> None:
    one = solver(test_iter=[2], test_interval=1, test_compute_loss=shown)
    with caplog.at_level(logging.INFO, "caffe"):
        one.test_all()
    texts = [line for line in caplog.messages if "Test" in line and "Testing" not in line]
    mean = re.fullmatch(r"    Test net output #0: loss = (\S+) \(.*", texts[-1])
    assert mean is not None
    assert texts[:-1] == ([f"Test loss: {mean[1]}"] if shown else [])
