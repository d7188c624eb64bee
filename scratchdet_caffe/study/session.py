"""A study from wish to table: data, pretrained backbones, cells, what they came to."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.study.cells import Cell, Wish, check_unchanged, plan_cells
from scratchdet_caffe.study.collect import collect, write_table
from scratchdet_caffe.study.datasets import Datasets
from scratchdet_caffe.study.display import Display
from scratchdet_caffe.study.pretraining import PretrainingTask, backbones, check_given
from scratchdet_caffe.study.processes import Processes, Stopped
from scratchdet_caffe.study.record import DONE, Record
from scratchdet_caffe.study.schedule import run_all
from scratchdet_caffe.study.steps import Steps


@dataclass(frozen=True)
class CellTask:
    """A cell as a task of the schedule."""

    cell: Cell
    steps: Steps

    @property
    def name(self) -> str:
        return self.cell.name

    @property
    def folder(self) -> Path:
        return self.cell.trained_in

    @property
    def iterations(self) -> int:
        return self.cell.job.recipe.solver.max_iter

    def run(self) -> Record:
        return self.steps.run(self.cell)


class Session:
    """One study, run.

    Args:
        wish: What is asked for.
        datasets: Where its data is.
        jobs: How many cells run at a time.
        threads: Of each process.
    """

    def __init__(self, wish: Wish, datasets: Datasets, jobs: int, threads: int) -> None:
        self.wish, self.datasets, self.jobs = wish, datasets, jobs
        self.threads = threads
        self.processes = Processes(threads)

    def words(self) -> list[str]:
        """Return the words of the data that is trained on and scored with."""
        rows = self.wish.table.runnable(self.wish.scale, self.wish.rows)
        return list(dict.fromkeys(row.words[self.wish.scale].data for row in rows))

    def prepare(self, words: Sequence[str]) -> None:
        """Make the data that is missing.

        Raises:
            UserError: It cannot be made.
            Stopped: The study was asked to stop.
        """
        for word in self.datasets.missing(words):
            print(f"preparing {self.datasets.folder(word)}")
            self.datasets.make(word, self.processes)

    def cells(self) -> list[Cell]:
        """Return the cells; the data must be there."""
        return plan_cells(self.wish, {word: self.datasets.word(word) for word in self.words()})

    def run(self) -> tuple[dict[str, Any], list[str]]:
        """Run what is missing and write the table.

        Returns:
            What ``table.json`` holds, and a sentence for each cell that failed.

        Raises:
            UserError: Something that all cells need is missing.
            Stopped: The study was asked to stop; the table holds what there is.
        """
        self.datasets.check(self.words())
        with self._stopping_on_signals():
            self.prepare(self.words())
            cells = self.cells()
            check_unchanged(cells)
            check_given(self.wish, cells)
            self._pretrain(cells)
            steps = Steps(self.wish, self.processes, self.threads)
            trained = [cell for cell in cells if not cell.row.scores]
            scored = [cell for cell in cells if cell.row.scores]
            records: list[Record | None] = []
            with Display(len(cells)) as display:
                for group in (trained, scored):
                    tasks = [CellTask(cell, steps) for cell in group]
                    records += run_all(tasks, self.jobs, display)
        table = collect(self.wish, cells)
        write_table(self.wish.folder, table)
        if self.processes.stopped:
            raise Stopped
        failed = [
            f"{cell.name}: {record.reason}"
            for cell, record in zip([*trained, *scored], records)
            if record is not None and not record.ended
        ]
        return table, failed

    def as_it_is(self) -> dict[str, Any]:
        """Write the table of the cells that have ended, also beside a run that goes on.

        Returns:
            What ``table.json`` holds.

        Raises:
            UserError: The data is not there, so nothing has been run.
        """
        if missing := self.datasets.missing(self.words()):
            folder = self.datasets.folder(missing[0])
            raise UserError(f"{folder} is not there: nothing of this study has been run")
        table = collect(self.wish, self.cells())
        write_table(self.wish.folder, table)
        return table

    def _pretrain(self, cells: Sequence[Cell]) -> None:
        """Train the backbones that nobody brought.

        Raises:
            UserError: A training failed.
        """
        how = self.wish.table.scales[self.wish.scale].pretraining
        needed = {
            word: cell for word, cell in backbones(cells).items()
            if word not in self.wish.pretrained
        }  # fmt: skip
        if how is None or not needed:
            return
        self.prepare([how.data])
        folder = self.datasets.folder(how.data)
        tasks = [
            PretrainingTask(word, cell, how, folder, self.wish, self.processes, self.threads)
            for word, cell in needed.items()
        ]
        with Display(len(tasks)) as display:
            records = run_all(tasks, self.jobs, display)
        if self.processes.stopped:
            raise Stopped
        for record in records:
            if record is None or record.state != DONE:
                raise UserError(record.reason if record else "pretraining was stopped")

    @contextmanager
    def _stopping_on_signals(self) -> Iterator[None]:
        def on_signal(number: int, frame: FrameType | None) -> None:
            self.processes.stop(signal.Signals(number))

        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, on_signal) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before):
                signal.signal(number, handler)
