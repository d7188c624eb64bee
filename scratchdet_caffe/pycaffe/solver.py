"""pycaffe's solver classes over the embedded engine."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_solver
from scratchdet_caffe.engine import solver as engine
from scratchdet_caffe.engine.diagnosis import Culprit, find_culprit
from scratchdet_caffe.engine.layers.data import Source
from scratchdet_caffe.engine.ranks import current
from scratchdet_caffe.engine.snapshot import find_spoilt_blob
from scratchdet_caffe.pycaffe import mode
from scratchdet_caffe.pycaffe.net import Net

# torch.optim stands on it, though its names begin with an underscore.
_foreach: Any = torch


class Solver:
    """Trains the net of a solver prototxt; see `get_solver`."""

    #: The update rule of this class; None takes the prototxt's.
    rule: str | None = None

    def __init__(self, solver_file: str | os.PathLike[str] | pb.SolverParameter) -> None:
        if isinstance(solver_file, (str, os.PathLike)):
            param = read_solver(solver_file)
        else:
            param = solver_file
        if self.rule is not None:
            param.type = self.rule
        chosen = mode.chosen_seed()
        if param.random_seed < 0 and chosen is not None:
            param.random_seed = chosen  # else the solver draws one, and a resume goes on with it
        self._solver = engine.Solver(param, mode.device(), current(), mode.precision())
        self._keep_until: int | None = None
        self._solver.net.register_forward_pre_hook(self._keep_blobs, with_kwargs=True)
        self.net = Net.over(self._solver.net)
        self.test_nets = [Net.over(net) for net in self._solver.test_nets]
        self._solver.feed = self.net.feed
        self._solver.test_feeds = [net.feed for net in self.test_nets]

    def _keep_blobs(self, net: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Let the last pass of a `step` keep every blob, since programs look at them."""
        if self._solver.iter + 1 == self._keep_until:
            kwargs = {**kwargs, "keep": list(self.net.blobs)}
        return args, kwargs

    @property
    def iter(self) -> int:
        """Iterations done."""
        return self._solver.iter

    @property
    def param(self) -> pb.SolverParameter:
        """The solver's description."""
        return self._solver.param

    def add_callback(
        self, on_start: Callable[[], None], on_gradients_ready: Callable[[], None]
    ) -> None:
        """Call the first before each iteration, the second before each update."""
        self._solver.callbacks.append((self._shown(on_start), self._shown(on_gradients_ready)))

    def _shown(self, callback: Callable[[], None]) -> Callable[[], None]:
        def call() -> None:
            self._show()
            self.net.pull()
            callback()
            self.net.push()

        return call

    def _show(self) -> None:
        """Let the train net's blobs show the last pass."""
        for blob, value in self._solver.outputs.items():
            if blob not in self.net.inputs:
                self.net.blobs[blob].set_value(value)

    def step(self, iterations: int) -> None:
        """Train for ``iterations``."""
        self.net.push()
        self._keep_until = self._solver.iter + iterations
        try:
            self._solver.step(iterations)
        finally:
            self._keep_until = None
        self._pull()

    def apply_update(self) -> None:
        """Change the parameters by their present gradients, as an iteration's end does.

        With ``net.clear_param_diffs``, ``net.forward`` and ``net.backward`` before it, this is
        one iteration of a training loop of one's own.
        """
        self.net.push()
        self._solver.apply_update()
        self._solver.iter += 1
        self._pull()

    def gradient_norm(self) -> float:
        """Return the L2 norm of the gradient over all parameters, summed over ``iter_size``.

        What ``net.params[...].diff`` say too, without a copy of any of them.
        """
        grads = [p.tensor.grad for p in self._solver.net.params if p.tensor.grad is not None]
        return float(torch.stack(_foreach._foreach_norm(grads)).norm()) if grads else 0.0

    def skip_update(self) -> None:
        """Leave the update of this iteration out; for a callback when the gradients are ready."""
        self._solver.skips = True

    def find_culprit(self) -> Culprit | None:
        """Return the first blob of the last iteration that is not finite, if a replay has one."""
        return find_culprit(self._solver)

    def find_spoilt_blob(self) -> str:
        """Return which parameter blob holds NaN or infinity; "" if none does.

        What ``net.params[...].data`` say too, but a look at those lays the weights out anew, and
        what is computed with them then differs in rounding from a run that nobody looked at.
        """
        return find_spoilt_blob(self._solver.net)

    def share_weights(self, net: Net) -> None:
        """Let ``net`` use the parameters of the train net, by layer name."""
        net.share_with(self.net)

    def solve(self, resume_file: str | None = None) -> None:
        """Train to ``max_iter``, from a ``.solverstate`` if one is given."""
        if resume_file is not None:
            self.restore(resume_file)
        self.net.push()
        self._solver.solve()
        self._pull()

    def snapshot(self) -> None:
        """Write ``.caffemodel`` and ``.solverstate`` under the snapshot prefix."""
        self.net.push()
        self._solver.snapshot()

    def restore(self, path: str) -> None:
        """Continue from a ``.solverstate``."""
        self._solver.restore(path)
        self._pull()

    def close(self) -> None:
        """End the threads and processes that make batches; the solver is of no use any more."""
        for net in (self._solver.net, *self._solver.test_nets):
            for source in net.sources.values():
                if isinstance(source, Source):
                    source.close()

    def _pull(self) -> None:
        self._show()
        self.net.pull()


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum."""

    rule = "SGD"


class NesterovSolver(Solver):
    """Nesterov's accelerated gradient."""

    rule = "Nesterov"


class AdaGradSolver(Solver):
    """AdaGrad."""

    rule = "AdaGrad"


class RMSPropSolver(Solver):
    """RMSProp."""

    rule = "RMSProp"


class AdaDeltaSolver(Solver):
    """AdaDelta."""

    rule = "AdaDelta"


class AdamSolver(Solver):
    """Adam."""

    rule = "Adam"


def get_solver(solver_file: str | os.PathLike[str]) -> Solver:
    """Return the solver that a prototxt describes, of the type that it names."""
    return Solver(solver_file)
