"""``cell.json``: how far a cell is, and what it came to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_text, write_text

DONE, DIVERGED, FAILED = "done", "diverged", "failed"
"""States of a cell that has ended; one that is empty has not."""


@dataclass
class Record:
    """What ``cell.json`` holds.

    Attributes:
        state: `DONE`, `DIVERGED`, `FAILED`, or empty.
        reason: Of a state that is no success: one sentence.
        measures: What was measured, by word, in the table's units.
        commands: What was run, as one could type it.
        wall_seconds: Of all processes that came to an end, by step.
        cpu_seconds: The same of the processor, all cores together.
        cell: The description of the cell: table, row, seed, ...
    """

    state: str = ""
    reason: str = ""
    measures: dict[str, float | None] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    wall_seconds: dict[str, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    cell: dict[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether nothing is left to run."""
        return self.state in (DONE, DIVERGED)


def read_record(folder: Path) -> Record:
    """Return the record in ``folder``, an empty one if there is none yet.

    Raises:
        UserError: The file is not what `write_record` writes.
    """
    file = folder / "cell.json"
    if not file.is_file():
        return Record()
    try:
        return Record(**json.loads(read_text(file)))
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{file}: not what `reproduce` writes ({error}); remove it to score the cell again"
        ) from error


def write_record(folder: Path, record: Record) -> None:
    """Write ``cell.json`` into ``folder``."""
    write_text(folder / "cell.json", json.dumps(asdict(record), indent=1) + "\n")


@contextmanager
def held(folder: Path) -> Iterator[int]:
    """Hold ``folder`` against every other study, waiting for one that works in it.

    Yields:
        A descriptor. Processes that inherit it hold the folder too, should this one be killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as stream:
        try:
            import fcntl
        except ImportError:  # no such locks outside of Unix
            yield stream.fileno()
            return
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield stream.fileno()
