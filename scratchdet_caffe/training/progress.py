"""A progress bar on the terminal."""

from __future__ import annotations

import logging
import math
import sys

from rich import progress as bars
from rich.console import Console

from scratchdet_caffe.training.observer import Observer
from scratchdet_caffe.training.run import Run


class ProgressBar(Observer):
    """Shows iteration, loss and the time that is left on stderr, below the log."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        columns = (
            bars.TextColumn("iteration {task.completed:.0f}/{task.total:.0f}"),
            bars.BarColumn(None),
            bars.TextColumn("loss {task.fields[loss]}"),
            bars.TimeRemainingColumn(),
        )
        self._bar = bars.Progress(*columns, console=self._console)
        self._task = self._bar.add_task("train", loss="-")

    def at_start(self, run: Run) -> None:
        """Show the bar."""
        self._bar.update(self._task, total=run.max_iter)
        self._bar.start()

    def before_iteration(self, run: Run) -> None:
        """Move it."""
        shown = "-" if math.isnan(run.loss) else f"{run.loss:.3f}"
        self._bar.update(self._task, completed=run.iteration, loss=shown)

    def at_end(self, run: Run) -> None:
        """Leave it as it stands."""
        self.before_iteration(run)
        self._bar.stop()

    def write(self, line: str) -> None:
        """Print a line of the log above the bar."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class BesideBar(logging.Handler):
    """Prints log lines above a progress bar."""

    def __init__(self, bar: ProgressBar) -> None:
        super().__init__()
        self._bar = bar

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        self._bar.write(self.format(record))


def shown_on_stderr() -> tuple[logging.Handler, list[ProgressBar]]:
    """Return what shows the log on stderr, and the progress bar below it on a terminal."""
    if not sys.stderr.isatty():
        return logging.StreamHandler(), []
    bar = ProgressBar()
    return BesideBar(bar), [bar]
