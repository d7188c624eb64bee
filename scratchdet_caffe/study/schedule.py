"""The cells of a study, several at a time, and who is told how they fare."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from scratchdet_caffe.study.processes import Stopped
from scratchdet_caffe.study.record import Record


class Watcher(Protocol):
    """Told of what runs."""

    def started(self, name: str, folder: Path, iterations: int) -> None:
        """Something begins; its ``train.log`` is in ``folder``."""

    def ended(self, name: str, record: Record | None) -> None:
        """It is over: how, or None where it was asked to stop."""


class Task(Protocol):
    """What is run: a training with what belongs to it."""

    @property
    def name(self) -> str: ...
    @property
    def folder(self) -> Path: ...
    @property
    def iterations(self) -> int: ...
    def run(self) -> Record: ...


def run_all(tasks: Sequence[Task], jobs: int, watcher: Watcher) -> list[Record | None]:
    """Run ``tasks`` in their order, ``jobs`` at a time.

    Returns:
        The record of each, None for one that was asked to stop.
    """

    def run(task: Task) -> Record | None:
        try:
            watcher.started(task.name, task.folder, task.iterations)
            record = task.run()
        except Stopped:
            watcher.ended(task.name, None)
            return None
        watcher.ended(task.name, record)
        return record

    with ThreadPoolExecutor(jobs, "cell") as pool:
        return list(pool.map(run, tasks))
