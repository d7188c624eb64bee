"""Dropout: what it drops is a function of seed, layer and pass; the rest is scaled up."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.engine.net import Net
from scratchdet_caffe.engine.shapes import LayerError
from scratchdet_caffe.engine.solver import Solver

NET = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 64 dim: 64 } } }
layer { name: "%s" type: "Dropout" bottom: "x" top: "y" dropout_param { dropout_ratio: %r } }
"""


def net(ratio: float = 0.5, seed: int = 1, name: str = "drop", phase: int = pb.TRAIN) -> Net:
    return Net(parse_text(NET % (name, ratio), pb.NetParameter), phase, seed=seed)


def masks(of: Net, passes: int) -> list[torch.Tensor]:
    return [of({"x": torch.ones(64, 64)})["y"] for _ in range(passes)]


@settings(deadline=None, max_examples=20)
@given(ratio=st.floats(0, 0.95), seed=st.integers(0, 2**31 - 1))
def test_values_are_dropped_or_scaled_so_that_the_mean_stays(ratio: float, seed: int) -> None:
    (top,) = masks(net(ratio, seed), 1)
    ratio = float(torch.tensor(ratio))
    kept = top != 0
    torch.testing.assert_close(top[kept], torch.full((int(kept.sum()),), 1 / (1 - ratio)))
    # Six standard deviations of the mean of 64 x 64 draws.
    assert abs(float(top.mean()) - 1) <= 6 * (ratio / (1 - ratio)) ** 0.5 / 64 + 1e-6


def test_every_pass_layer_and_seed_drops_others() -> None:
    first, second = masks(net(), 2)
    others = [second, *masks(net(seed=2), 1), *masks(net(name="other"), 1)]
    assert all(not torch.equal(first, other) for other in others)


def test_a_run_that_resumes_drops_what_the_unbroken_run_drops() -> None:
    unbroken = masks(net(), 5)
    resumed = net()
    resumed.sources["drop"].position = 3
    for mine, theirs in zip(masks(resumed, 2), unbroken[3:]):
        assert torch.equal(mine, theirs)


def test_the_gradient_passes_where_the_value_did() -> None:
    x = torch.ones(64, 64, requires_grad=True)
    param = parse_text("force_backward: true" + NET % ("drop", 0.25), pb.NetParameter)
    top = Net(param, pb.TRAIN)({"x": x})["y"]
    top.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, top.detach())


def test_in_test_it_copies() -> None:
    x = torch.randn(64, 64)
    assert torch.equal(net(phase=pb.TEST)({"x": x})["y"], x)


@pytest.mark.parametrize("ratio", [1.0, 1.5, -0.1])
def test_a_ratio_that_is_no_share_is_refused(ratio: float) -> None:
    with pytest.raises(LayerError, match="layer 'drop' \\(Dropout\\): dropout_ratio must be"):
        net(ratio)


TRAINED = """
net_param {
  layer { name: "data" type: "DummyData" top: "x" top: "t"
          dummy_data_param { shape { dim: 4 dim: 6 } shape { dim: 4 dim: 2 }
                             data_filler { type: "gaussian" } } }
  layer { name: "drop" type: "Dropout" bottom: "x" top: "x" }
  layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
          inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
  layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
}
type: "SGD" base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 random_seed: 5 iter_size: 2
"""


def test_training_with_dropout_and_random_data_resumes_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    param = parse_text(TRAINED + 'snapshot_prefix: "run"', pb.SolverParameter)
    unbroken = Solver(param)
    unbroken.step(3)
    unbroken.snapshot()
    unbroken.step(3)
    resumed = Solver(param)
    resumed.restore("run_iter_3.solverstate")
    resumed.step(3)
    for mine, theirs in zip(resumed.net.params, unbroken.net.params):
        assert torch.equal(mine.tensor, theirs.tensor)
    # Without the sidecar the passes follow from the iteration.
    Path("run_iter_3.state.json").unlink()
    again = Solver(param)
    again.restore("run_iter_3.solverstate")
    again.step(3)
    assert torch.equal(again.net.params[0].tensor, unbroken.net.params[0].tensor)
