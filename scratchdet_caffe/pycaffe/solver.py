"""pycaffe's solver classes over the embedded engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_prototxt
from scratchdet_caffe.engine import solver as engine
from scratchdet_caffe.pycaffe import mode
from scratchdet_caffe.pycaffe.net import Net


class Solver:
    """Trains the net of a solver prototxt; see `get_solver`."""

    #: The update rule of this class; None takes the prototxt's.
    rule: str | None = None

    def __init__(self, solver_file: str | os.PathLike[str]) -> None:
        param = read_prototxt(solver_file, pb.SolverParameter)
        if self.rule is not None:
            param.type = self.rule
        self._solver = engine.Solver(param, mode.device())
        self._solver.feed = self._feed
        self.net = Net.over(self._solver.net)
        self.test_nets = [Net.over(net) for net in self._solver.test_nets]

    def _feed(self) -> Mapping[str, Tensor]:
        device = self._solver.net.device
        return {blob: self.net.blobs[blob].as_tensor(device) for blob in self.net.inputs}

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
            callback()

        return call

    def _show(self) -> None:
        """Let the train net's blobs show the last pass."""
        for blob, value in self._solver.outputs.items():
            self.net.blobs[blob].set_value(value)

    def step(self, iterations: int) -> None:
        """Train for ``iterations``."""
        self._push()
        self._solver.step(iterations)
        self._pull()

    def solve(self, resume_file: str | None = None) -> None:
        """Train to ``max_iter``, from a ``.solverstate`` if one is given."""
        if resume_file is not None:
            self.restore(resume_file)
        self._push()
        self._solver.solve()
        self._pull()

    def snapshot(self) -> None:
        """Write ``.caffemodel`` and ``.solverstate`` under the snapshot prefix."""
        self._push()
        self._solver.snapshot()

    def restore(self, path: str) -> None:
        """Continue from a ``.solverstate``."""
        self._solver.restore(path)
        self._pull()

    def _push(self) -> None:
        for blobs in self.net.params.values():
            for blob in blobs:
                blob.push()

    def _pull(self) -> None:
        self._show()
        for blobs in self.net.params.values():
            for blob in blobs:
                blob.pull()


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
