"""Update rules: from a gradient and its history to a step of the parameters.

Every rule works on the whole list of parameters with one fused call per operation. All take
gradients after clipping, after division by ``iter_size`` and after weight decay, and leave
``history`` as Caffe's solver state stores it: one blob per parameter, or for Adam and AdaDelta
all first ones and then all second ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.rates import check_type

Tensors = list[Tensor]
#: (parameters, gradients, history, learning rate of each, solver, iteration)
Rule = Callable[[Tensors, Tensors, Tensors, list[float], pb.SolverParameter, int], None]

# The names begin with an underscore in torch, but torch.optim stands on them.
_f: Any = torch


def add_scaled(targets: Tensors, others: Tensors, scales: list[float]) -> None:
    """Add ``scales`` times ``others`` to ``targets``: one call for each distinct scale."""
    groups: dict[float, tuple[Tensors, Tensors]] = {}
    for target, other, scale in zip(targets, others, scales):
        into, of = groups.setdefault(scale, ([], []))
        into.append(target)
        of.append(other)
    for scale, (into, of) in groups.items():
        if scale:
            _f._foreach_add_(into, of, alpha=scale)


def sgd(p: Tensors, g: Tensors, h: Tensors, lr: list[float], s: pb.SolverParameter, t: int) -> None:
    """h = momentum h + lr g; p -= h."""
    _f._foreach_mul_(h, s.momentum)
    add_scaled(h, g, lr)
    _f._foreach_sub_(p, h)


def nesterov(
    p: Tensors, g: Tensors, h: Tensors, lr: list[float], s: pb.SolverParameter, t: int
) -> None:
    """h' = momentum h + lr g; p -= (1 + momentum) h' - momentum h."""
    before = _f._foreach_mul(h, s.momentum)
    sgd_history = _f._foreach_add(before, _f._foreach_mul(g, lr))
    _f._foreach_copy_(h, sgd_history)
    _f._foreach_mul_(sgd_history, 1 + s.momentum)
    _f._foreach_sub_(sgd_history, before)
    _f._foreach_sub_(p, sgd_history)


def adagrad(
    p: Tensors, g: Tensors, h: Tensors, lr: list[float], s: pb.SolverParameter, t: int
) -> None:
    """h += g^2; p -= lr g / (sqrt(h) + delta)."""
    _f._foreach_addcmul_(h, g, g)
    _step_over_root(p, g, h, lr, s.delta)


def rmsprop(
    p: Tensors, g: Tensors, h: Tensors, lr: list[float], s: pb.SolverParameter, t: int
) -> None:
    """h = decay h + (1 - decay) g^2; p -= lr g / (sqrt(h) + delta)."""
    _f._foreach_mul_(h, s.rms_decay)
    _f._foreach_addcmul_(h, g, g, value=1 - s.rms_decay)
    _step_over_root(p, g, h, lr, s.delta)


def _step_over_root(p: Tensors, g: Tensors, h: Tensors, lr: list[float], delta: float) -> None:
    root = _f._foreach_sqrt(h)
    _f._foreach_add_(root, delta)
    step = _f._foreach_div(g, root)
    _f._foreach_mul_(step, lr)
    _f._foreach_sub_(p, step)


def adadelta(
    p: Tensors, g: Tensors, h: Tensors, lr: list[float], s: pb.SolverParameter, t: int
) -> None:
    """h1 = m h1 + (1-m) g^2; d = g sqrt((h2 + delta)/(h1 + delta)); h2 = m h2 + (1-m) d^2."""
    squares, moves = h[: len(p)], h[len(p) :]
    _f._foreach_mul_(squares, s.momentum)
    _f._foreach_addcmul_(squares, g, g, value=1 - s.momentum)
    ratio = _f._foreach_div(_f._foreach_add(moves, s.delta), _f._foreach_add(squares, s.delta))
    _f._foreach_sqrt_(ratio)
    step = _f._foreach_mul(g, ratio)
    _f._foreach_mul_(moves, s.momentum)
    _f._foreach_addcmul_(moves, step, step, value=1 - s.momentum)
    _f._foreach_mul_(step, lr)
    _f._foreach_sub_(p, step)


def adam(
    p: Tensors, g: Tensors, h: Tensors, lr: list[float], s: pb.SolverParameter, t: int
) -> None:
    """m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; p -= lr c m / (sqrt(v) + delta).

    With c = sqrt(1 - b2^k) / (1 - b1^k) at update number k = iteration + 1.
    """
    first, second = h[: len(p)], h[len(p) :]
    _f._foreach_mul_(first, s.momentum)
    _f._foreach_add_(first, g, alpha=1 - s.momentum)
    _f._foreach_mul_(second, s.momentum2)
    _f._foreach_addcmul_(second, g, g, value=1 - s.momentum2)
    k = t + 1
    correction = math.sqrt(1 - s.momentum2**k) / (1 - s.momentum**k)
    _step_over_root(p, first, second, [rate * correction for rate in lr], s.delta)


_RULES: dict[str, tuple[Rule, int]] = {
    "SGD": (sgd, 1),
    "Nesterov": (nesterov, 1),
    "AdaGrad": (adagrad, 1),
    "RMSProp": (rmsprop, 1),
    "AdaDelta": (adadelta, 2),
    "Adam": (adam, 2),
}


def update_rule(solver: pb.SolverParameter) -> tuple[Rule, int]:
    """Return the rule of ``solver.type`` and how many history blobs it keeps per parameter.

    Raises:
        UserError: The type is unknown.
    """
    check_type(solver)
    return _RULES[solver.type]
