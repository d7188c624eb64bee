"""TensorBoard's event files, written from any Caffe log.

The writer is tensorboardX: it needs neither TensorFlow nor torch, so that a run of SSD-Caffe in a
container without torch can be shown, too. It is optional: ``pip install scratchdet-caffe[events]``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.report.log import CaffeLog


class EventWriter:
    """Writes what a growing log says as scalars into the folder ``out``, each point once.

    Tags are ``train/loss``, ``train/learning_rate``, ``train/<output>``, ``test/<output>`` and
    ``test/class/<label>``; ``test1/...`` for the second test net. What an earlier file in the
    folder says gives way to this log, and so does what a resumed run does again.

    Raises:
        UserError: tensorboardX is not installed, or the folder cannot be written.
    """

    def __init__(self, out: Path) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise UserError(
                "event files need tensorboardX: pip install 'scratchdet-caffe[events]'"
            ) from error
        self._make: Any = SummaryWriter
        self._out = out
        self._writer: Any = None
        self._written: dict[str, int] = {}
        self._runs = 0

    def update(self, log: CaffeLog) -> int:
        """Write the points that are new in ``log``; return how many."""
        if self._writer is None or log.runs > self._runs:
            self._begin()
            self._runs = log.runs
        count, began = 0, time.time() - log.seconds
        for tag, point in _points(log):
            if point.iteration > self._written.get(tag, -1):
                self._writer.add_scalar(tag, point.value, point.iteration, began + point.seconds)
                self._written[tag] = point.iteration
                count += 1
        self._writer.flush()
        return count

    def close(self) -> None:
        """Complete the file."""
        if self._writer is not None:
            self._writer.close()

    def _begin(self) -> None:
        """Begin a file that takes the place of all earlier ones."""
        self.close()
        self._written = {}
        try:
            self._out.mkdir(parents=True, exist_ok=True)
            self._writer = self._make(str(self._out), purge_step=0)
        except OSError as error:
            raise UserError(f"{self._out}: cannot write events: {error.strerror}") from error


class _Point(NamedTuple):
    iteration: int
    seconds: float
    value: float


def _points(log: CaffeLog) -> Iterator[tuple[str, _Point]]:
    """Tag and point of everything in ``log``."""
    series = {"train/loss": log.loss, "train/learning_rate": log.rate}
    series |= {f"train/{name}": one for name, one in log.train.items()}
    for net, outputs in log.test.items():
        series |= {f"test{net or ''}/{name}": one for name, one in outputs.items()}
    for net, classes in log.class_ap.items():
        series |= {f"test{net or ''}/class/{label}": one for label, one in classes.items()}
    for tag, one in series.items():
        for numbers in zip(one.iteration.tolist(), one.seconds.tolist(), one.value.tolist()):
            yield tag, _Point(*numbers)
