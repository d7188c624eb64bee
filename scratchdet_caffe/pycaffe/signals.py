"""What signals do to a training run: snapshot, stop, or nothing.

Like Caffe's, they are looked at between iterations and between the batches of a test. Unlike
Caffe, which dies of it, SIGTERM writes a snapshot and stops: it is how containers and batch
systems end a run.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from scratchdet_caffe.pycaffe.solver import Solver

EFFECTS = ("stop", "snapshot", "none")


class Stopped(Exception):
    """A signal asked for the end of the run."""


class Signals:
    """Delivers SIGINT, SIGHUP and SIGTERM to ``solver`` while the context lasts.

    Attributes:
        must_snapshot: The stop wants a snapshot whatever the solver's prototxt says.
    """

    def __init__(self, solver: Solver, sigint: str, sighup: str) -> None:
        self.solver = solver
        self.must_snapshot = False
        self._effects = {signal.SIGINT: sigint, signal.SIGHUP: sighup, signal.SIGTERM: "term"}
        self._pending: set[str] = set()
        self._before: dict[signal.Signals, Any] = {}
        solver.add_callback(self.poll, lambda: None)
        for net in solver.test_nets:
            net.before_each_pass(self._poll_stop)

    def __enter__(self) -> Signals:
        for number, effect in self._effects.items():
            if effect != "none":
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._pending.add(self._effects[signal.Signals(number)])

    def poll(self) -> None:
        """Do what signals have asked for since the last call.

        Raises:
            Stopped: One of them was to stop.
        """
        if "snapshot" in self._pending:
            self._pending.discard("snapshot")
            self.solver.snapshot()
        self._poll_stop()

    def _poll_stop(self) -> None:
        self.must_snapshot = "term" in self._pending
        if self._pending & {"stop", "term"}:
            raise Stopped
