"""One cell from its description to its numbers: render, train, score."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.render import write_job
from scratchdet_caffe.snapshots import find_snapshots
from scratchdet_caffe.study.cells import Cell, Wish
from scratchdet_caffe.study.environment import write_environment
from scratchdet_caffe.study.measures import measure
from scratchdet_caffe.study.processes import Ended, Processes, command_line
from scratchdet_caffe.study.record import (
    DIVERGED,
    DONE,
    FAILED,
    Record,
    held,
    read_record,
    write_record,
)

EXIT_DIVERGED = 3
"""Of ``train``."""
CONSOLE = "console.log"
KEPT = 2
"""Snapshots that a training keeps, so that a damaged one is not the end of it."""


class Failed(Exception):
    """A process did not do what it was asked to; the text says which and what it said last."""


class Steps:
    """The steps of cells.

    Args:
        wish: What the study is.
        processes: Runs the commands.
        threads: Of each process.
    """

    def __init__(self, wish: Wish, processes: Processes, threads: int) -> None:
        self._wish, self._processes, self._threads = wish, processes, threads

    def run(self, cell: Cell) -> Record:
        """Bring ``cell`` to its end, from where it is.

        Returns:
            Its record; the state is never empty.

        Raises:
            Stopped: The study was asked to stop; the record says how far the cell is.
        """
        with held(cell.trained_in) as lock:
            record = read_record(cell.folder)
            if record.ended:
                return record
            record.cell, record.state, record.reason = self._description(cell), "", ""
            cell.folder.mkdir(parents=True, exist_ok=True)
            try:
                if cell.row.scores:
                    record.state = read_record(cell.trained_in).state
                    if not record.ended:
                        raise Failed(f"{cell.row.scores} was not trained")
                else:
                    self._train(cell, record, lock)
                if record.state != DIVERGED:
                    self._score(cell, record, lock)
                    self._probe(cell, record, lock)
                    record.state = DONE
            except (Failed, UserError) as error:
                record.state, record.reason = FAILED, str(error)
            write_record(cell.folder, record)
        return record

    def _description(self, cell: Cell) -> dict[str, Any]:
        return {
            "table": self._wish.table.name,
            "scale": self._wish.scale,
            "row": cell.row.name,
            "label": cell.row.label,
            "seed": cell.seed,
            "words": asdict(cell.words),
            "changes": self._wish.changes,
            "engine": self._wish.engine,
            "device": self._wish.device,
        }

    def _train(self, cell: Cell, record: Record, lock: int) -> None:
        """Train to the end or to the loss of the loss; one that is trained stays as it is."""
        folder, solver = cell.trained_in, cell.job.recipe.solver
        if not (folder / "job.json").is_file():
            write_job(cell.job)
        write_environment(folder, self._wish.device)
        write_record(cell.folder, record)
        prefix = cell.job.snapshot_prefix
        models = find_snapshots(prefix, ".caffemodel")
        if models and f"_iter_{solver.max_iter}." in models[-1].name:
            return
        weights = cell.job.recipe.weights
        arguments = [
            "--solver", f"{cell.job.folder}/solver.prototxt", "--resume",
            *(["--weights", weights] if weights else []), *self._where(),
            "--threads", str(self._threads),
            # A traced training is looked at from all its snapshots.
            *(["--trace-gradients"] if self._wish.table.traced else ["--keep", str(KEPT)]),
        ]  # fmt: skip
        ended = self._command("train", arguments, cell, record, lock)
        if ended.status == EXIT_DIVERGED:
            record.state, record.reason = DIVERGED, _how_it_diverged(folder / "train.log")
        elif ended.status:
            raise Failed(failure("train", ended, folder / CONSOLE))

    def _score(self, cell: Cell, record: Record, lock: int) -> None:
        arguments = [cell.job.folder, "--out", cell.results.as_posix(), "--coco", *self._where()]
        if bounds := self._wish.table.scales[self._wish.scale].size_bounds:
            arguments += ["--sizes", ",".join(f"{side:g}" for side in bounds)]
        if cell.row.scores:
            arguments.append("--multi-scale")
        ended = self._command("evaluate", arguments, cell, record, lock)
        if ended.status:
            raise Failed(failure("evaluate", ended, cell.folder / CONSOLE))
        record.measures = measure(cell.trained_in, cell.results, self._wish.table.measures)

    def _probe(self, cell: Cell, record: Record, lock: int) -> None:
        """Look at the loss around the training, where the table wants its gradients."""
        if not self._wish.table.traced or cell.row.scores:
            return
        arguments = ["--solver", f"{cell.job.folder}/solver.prototxt", *self._where()]
        ended = self._command("study.landscape", arguments, cell, record, lock)
        if ended.status:
            raise Failed(failure("study.landscape", ended, cell.folder / CONSOLE))

    def _where(self) -> list[str]:
        return ["--engine", self._wish.engine, "--device", self._wish.device]

    def _command(
        self, module: str, arguments: list[str], cell: Cell, record: Record, lock: int
    ) -> Ended:
        line = command_line(module, arguments)
        if line not in record.commands:
            record.commands.append(line)
        ended = self._processes.run(module, arguments, cell.folder / CONSOLE, lock)
        for seconds, spent in (
            (record.wall_seconds, ended.wall_seconds),
            (record.cpu_seconds, ended.cpu_seconds),
        ):
            seconds[module] = round(seconds.get(module, 0.0) + spent, 2)
        return ended


def _how_it_diverged(log: Path) -> str:
    """What the log says was lost, and when."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    found = re.findall(r"(Iteration \d+, .*?): diverged", text)
    return found[-1] if found else "the loss is not finite"


def failure(module: str, ended: Ended, console: Path) -> str:
    """What a process said last."""
    text = console.read_text(encoding="utf-8", errors="replace") if console.is_file() else ""
    lines = [line for line in text.splitlines() if line.strip()]
    said = f": {lines[-1].strip()}" if lines else ""
    return f"{module} ended with status {ended.status}{said} (all of it: {console})"
