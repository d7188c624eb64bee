"""Learning rate policies, as Caffe's solver computes them, and what a solver may be."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from scratchdet_caffe import glog
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.errors import UserError, nearest

LOG = logging.getLogger("caffe")

POLICIES = ("fixed", "step", "exp", "inv", "multistep", "poly", "sigmoid", "plateau")

SOLVERS = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")

_NEEDS = {
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": ("gamma", "power"),
    "multistep": ("gamma",),
    "poly": ("power", "max_iter"),
    "sigmoid": ("gamma", "stepsize"),
    "plateau": ("gamma",),
}


def check_type(solver: pb.SolverParameter) -> None:
    """Raise a `UserError` unless the solver's type is one of `SOLVERS`."""
    if solver.type not in SOLVERS:
        raise UserError(f"solver: unknown type '{solver.type}'{nearest(solver.type, SOLVERS)}")


def check_policy(solver: pb.SolverParameter) -> None:
    """Raise a `UserError` unless the policy is known and has the numbers that it needs."""
    if solver.lr_policy not in POLICIES:
        raise UserError(
            f"solver: unknown lr_policy '{solver.lr_policy}'{nearest(solver.lr_policy, POLICIES)}"
        )
    for field in _NEEDS.get(solver.lr_policy, ()):
        if not solver.HasField(field):
            raise UserError(f"solver: lr_policy '{solver.lr_policy}' needs {field}")
    if "stepsize" in _NEEDS.get(solver.lr_policy, ()) and solver.stepsize < 1:
        raise UserError(f"solver: stepsize must be at least 1, not {solver.stepsize}")
    if solver.lr_policy == "plateau" and not solver.plateau_winsize:
        raise UserError("solver: lr_policy 'plateau' needs plateau_winsize")
    if list(solver.stepvalue) != sorted(solver.stepvalue):
        raise UserError(f"solver: stepvalue must rise, not {list(solver.stepvalue)}")


class LearningRate:
    """The learning rate over the iterations.

    Attributes:
        current_step: How many steps of `multistep` (or drops of `plateau`) lie behind.
        minimum_loss: Lowest smoothed loss that `plateau` has seen.
        last_event: Iteration of that minimum, or of the last drop after it.
    """

    def __init__(self, solver: pb.SolverParameter) -> None:
        check_policy(solver)
        self.solver = solver
        self.current_step = 0
        self.minimum_loss = pb.SolverState().minimum_loss
        self.last_event = 0

    def at(self, iteration: int, smoothed_loss: float) -> float:
        """Return the rate for the update of ``iteration``; call it once per iteration.

        What leaves the range of numbers is infinite or NaN, as in C++.
        """
        with np.errstate(all="ignore"):
            return float(self._at(iteration, smoothed_loss))

    def _at(self, iteration: int, smoothed_loss: float) -> Any:
        s = self.solver
        if s.lr_policy == "fixed":
            return s.base_lr
        if s.lr_policy == "step":
            self.current_step = iteration // s.stepsize
            return s.base_lr * np.float_power(s.gamma, self.current_step)
        if s.lr_policy == "exp":
            return s.base_lr * np.float_power(s.gamma, iteration)
        if s.lr_policy == "inv":
            return s.base_lr * np.float_power(1 + s.gamma * iteration, -s.power)
        if s.lr_policy == "multistep":
            # At most one step per iteration, even when two values lie together.
            values = s.stepvalue
            if self.current_step < len(values) and iteration >= values[self.current_step]:
                self.current_step += 1
                LOG.info(glog.multistep(iteration, self.current_step))
            return s.base_lr * np.float_power(s.gamma, self.current_step)
        if s.lr_policy == "poly":
            return s.base_lr * np.float_power(1 - iteration / s.max_iter, s.power)
        if s.lr_policy == "sigmoid":
            return s.base_lr / (1 + np.exp(-s.gamma * (iteration - s.stepsize)))
        return self._plateau(iteration, smoothed_loss)

    def _plateau(self, iteration: int, smoothed_loss: float) -> Any:
        s = self.solver
        if smoothed_loss < self.minimum_loss:
            self.minimum_loss = smoothed_loss
            self.last_event = iteration
        drops, quiet = self.current_step, iteration - self.last_event
        status = f"Plateau Status: Iteration {iteration}, "
        if drops < len(s.plateau_winsize) and quiet >= s.plateau_winsize[drops]:
            self.current_step += 1
            self.last_event = iteration
            LOG.info(f"{status}step = {self.current_step}")
        shown = s.display and iteration % s.display == 0
        if shown and self.last_event > iteration - s.display:
            LOG.info(f"{status}current minimum_loss = {glog.number(self.minimum_loss)}")
        return s.base_lr * np.float_power(s.gamma, self.current_step)
