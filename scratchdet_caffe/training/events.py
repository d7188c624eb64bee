"""TensorBoard's event files, written while a run goes on."""

from __future__ import annotations

import time
from pathlib import Path

from scratchdet_caffe.report.events import EventWriter
from scratchdet_caffe.report.follow import LogFollower
from scratchdet_caffe.training.observer import Observer
from scratchdet_caffe.training.run import Run

_EVERY = 2.0  # seconds


class Events(Observer):
    """Writes what the log says into the folder ``out``, every few seconds and at the end."""

    def __init__(self, log: Path, out: Path) -> None:
        self._follower, self._writer = LogFollower(log), EventWriter(out)
        self._last = 0.0

    def before_iteration(self, run: Run) -> None:
        """Write what is new, if the last time is long enough ago."""
        if time.monotonic() - self._last >= _EVERY:
            self._write()

    def at_end(self, run: Run) -> None:
        """Write the rest."""
        self._write()
        self._writer.close()

    def _write(self) -> None:
        if self._follower.poll():
            self._writer.update(self._follower.log())
        self._last = time.monotonic()
