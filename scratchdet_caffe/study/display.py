"""How a study fares, on the terminal: what runs now, and a line for each cell that ends."""

from __future__ import annotations

import math
import re
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table

from scratchdet_caffe.study.record import DIVERGED, DONE, Record

_TAIL = 4000  # bytes; the last iterations are in them
_ITERATION = re.compile(r"Iteration (\d+), loss = (\S+)")


@dataclass
class _Running:
    log: Path
    iterations: int
    since: float = field(default_factory=time.monotonic)


class Display:
    """Watches a schedule; on a terminal, a table below the lines is kept up to date.

    Args:
        count: How many cells there are.
    """

    def __init__(self, count: int) -> None:
        self._count, self._ended = count, 0
        self._running: dict[str, _Running] = {}
        self._lock = threading.Lock()
        self._console = Console(stderr=True)
        self._live = (
            Live(get_renderable=self._table, console=self._console, refresh_per_second=1)
            if sys.stderr.isatty()
            else None
        )

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live:
            self._live.stop()

    def started(self, name: str, folder: Path, iterations: int) -> None:
        """Show that ``name`` runs."""
        with self._lock:
            self._running[name] = _Running(folder / "train.log", iterations)

    def ended(self, name: str, record: Record | None) -> None:
        """Print how ``name`` ended."""
        with self._lock:
            took = time.monotonic() - self._running.pop(name).since
            self._ended += record is not None
            line = f"[{self._ended}/{self._count}] {name}: {outcome(record)}"
            if record is not None:
                line += f"  ({took / 60:.1f} min)"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _table(self) -> RenderableType:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for head in ("running", "iteration", "loss", "minutes"):
            table.add_column(head, justify="left" if head == "running" else "right")
        with self._lock:
            for name, own in self._running.items():
                iteration, loss = last_iteration(own.log)
                minutes = (time.monotonic() - own.since) / 60
                shown = "-" if math.isnan(loss) else f"{loss:.3f}"
                table.add_row(name, f"{iteration}/{own.iterations}", shown, f"{minutes:.1f}")
        return table


def outcome(record: Record | None) -> str:
    """Return what a cell came to, in a few words."""
    if record is None:
        return "stopped"
    if record.state == DONE:
        shown = (f"{word} {value:.1f}" for word, value in record.measures.items()
                 if value is not None)  # fmt: skip
        return ", ".join(shown) or "done"
    if record.state == DIVERGED:
        return f"diverged ({record.reason})"
    return f"failed: {record.reason}"


def last_iteration(log: Path) -> tuple[int, float]:
    """Return the last iteration that ``log`` shows, and its loss."""
    try:
        with log.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - _TAIL))
            found = _ITERATION.findall(stream.read().decode("utf-8", "replace"))
    except OSError:
        found = []
    return (int(found[-1][0]), float(found[-1][1].rstrip(":"))) if found else (0, math.nan)
