"""A run watched on the terminal: how far, how well, how long, and what went wrong."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from scratchdet_caffe.caffeproto import read_solver
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.report.follow import LogFollower
from scratchdet_caffe.report.job import read_job
from scratchdet_caffe.report.log import CaffeLog
from scratchdet_caffe.report.words import duration

SILENT = 120.0  # seconds without a line after which a run is said to be silent
_BARS = "▁▂▃▄▅▆▇█"
_TESTS, _ALARMS = 6, 3  # how many are shown


@dataclass(frozen=True)
class Watched:
    """What there is to watch.

    Attributes:
        log: Its log.
        max_iter: Iterations to do; 0 where nothing says so.
        classes: Names by label, the background first; empty where nothing says them.
    """

    log: Path
    max_iter: int = 0
    classes: tuple[str, ...] = ()


def find_run(path: Path) -> Watched:
    """Return what to watch at ``path``: the folder of a job, or a log.

    Raises:
        UserError: There is no log.
    """
    folder, log = (path, path / "train.log") if path.is_dir() else (path.parent, path)
    if not log.is_file():
        raise UserError(f"{log}: no such log; give the folder of a job that is training, or a log")
    solver = folder / "solver.prototxt"
    max_iter = read_solver(solver).max_iter if solver.is_file() else 0
    try:
        classes = read_job(folder).classes
    except UserError:  # what is damaged there does not keep anybody from watching
        classes = ()
    return Watched(log, max_iter, classes)


def watch(path: Path, console: Console, every: float = 2.0, once: bool = False) -> None:
    """Show the run at ``path`` until it ends, or once."""
    run = find_run(path)
    follower = LogFollower(run.log)
    follower.poll()
    if once or not console.is_terminal:
        console.print(view(run, follower.log(), follower.age))
        return
    with Live(console=console, auto_refresh=False) as live:
        while True:
            log = follower.log()
            live.update(view(run, log, follower.age), refresh=True)
            if log.done or log.stopped or log.fatal is not None:
                return
            time.sleep(every)
            follower.poll()


def view(run: Watched, log: CaffeLog, age: float = 0.0, width: int = 60) -> RenderableType:
    """Return what is shown of a run whose log was last written ``age`` seconds ago."""
    parts: list[RenderableType] = [_head(run, log, age), _progress(run, log)]
    if len(log.loss.value):
        parts.append(_losses(log, width))
    for net, outputs in log.test.items():
        if outputs:
            parts.append(_tests(log, net))
            parts.append(_classes(log, net, run.classes))
    if log.snapshots:
        newest = max(log.snapshots)
        parts.append(Text(f"newest snapshot: iteration {newest}, {log.snapshots[newest]}"))
    parts += [Text(f"! {alarm}", style="red") for alarm in log.alarms[-_ALARMS:]]
    if log.fatal is not None:
        parts.append(Text(f"! {log.fatal}", style="bold red"))
    return Group(*parts)


def state_of(log: CaffeLog, age: float) -> tuple[str, str]:
    """Return how a run stands in a word or two, and the style for it."""
    if log.fatal is not None:
        return "failed", "bold red"
    if any("diverged" in alarm for alarm in log.alarms[-1:]):
        return "diverged", "bold red"
    if log.done:
        return "done", "bold green"
    if log.stopped:
        return "stopped before its end", "bold yellow"
    if age > SILENT:
        return f"silent for {duration(age)}", "bold yellow"
    return "running", "green"


def _head(run: Watched, log: CaffeLog, age: float) -> Text:
    word, style = state_of(log, age)
    runs = f", {log.runs} starts" if log.runs > 1 else ""
    return Text.assemble((log.net or run.log.name, "bold"), ": ", (word, style), runs)


def _progress(run: Watched, log: CaffeLog) -> RenderableType:
    iteration = _iteration(log)
    line = Text(f"iteration {iteration}")
    if run.max_iter:
        line.append(f" of {run.max_iter}")
    line.append(f", {duration(log.seconds)}")
    if rate := _speed(log):
        line.append(f", {1 / rate:.3g} iterations/s" if rate < 1 else f", {rate:.3g} s/iteration")
        if run.max_iter > iteration:
            line.append(f", {duration((run.max_iter - iteration) * rate)} to go")
    if not run.max_iter:
        return line
    bar = Table.grid()
    bar.add_row(ProgressBar(total=run.max_iter, completed=iteration, width=60))
    return Group(line, bar)


def _iteration(log: CaffeLog) -> int:
    last = [series.iteration[-1] for series in (log.loss, log.rate) if len(series.iteration)]
    last += [s.iteration[-1] for outputs in log.test.values() for s in outputs.values()]
    return int(max([*last, *log.snapshots, 0]))


def _speed(log: CaffeLog) -> float:
    """Seconds for an iteration, over the last twenty lines; 0 where it cannot be told."""
    steps, seconds = log.loss.iteration[-20:], log.loss.seconds[-20:]
    if len(steps) < 2 or seconds[-1] <= seconds[0]:
        return 0.0
    return float((seconds[-1] - seconds[0]) / (steps[-1] - steps[0]))


def _losses(log: CaffeLog, width: int) -> Text:
    text = Text(f"loss {log.loss.value[-1]:.4g}")
    if len(log.rate.value):
        text.append(f", learning rate {log.rate.value[-1]:.4g}")
    return text.append(f"\n{sparkline(log.loss.value, width)}", style="cyan")


def sparkline(values: npt.NDArray[np.float64], width: int) -> str:
    """Return ``values`` as at most ``width`` bars of eight heights, ``!`` where one is not finite.

    Several values under one bar are shown by their mean; heights are those of the logarithm where
    the values are positive and far apart.
    """
    parts = np.array_split(values, min(width, max(len(values), 1)))
    means = np.array([part.mean() for part in parts])
    finite = means[np.isfinite(means)]
    if not len(finite):
        return "!" * len(means)
    if finite.min() > 0 and finite.max() > 8 * finite.min():
        means, finite = np.log(means), np.log(finite)
    low, span = finite.min(), max(finite.max() - finite.min(), 1e-12)
    return "".join(
        _BARS[min(int((mean - low) / span * 8), 7)] if math.isfinite(mean) else "!"
        for mean in means
    )


def _tests(log: CaffeLog, net: int) -> Table:
    outputs = log.test[net]
    table = Table(box=box.SIMPLE_HEAD, title=f"test net {net}" if net else None)
    table.add_column("test at", justify="right")
    for name in outputs:
        table.add_column(name, justify="right")
    known = [dict(zip(s.iteration.tolist(), s.value.tolist())) for s in outputs.values()]
    for iteration in sorted({i for column in known for i in column})[-_TESTS:]:
        cells = [f"{column[iteration]:.4f}" if iteration in column else "" for column in known]
        table.add_row(str(iteration), *cells)
    return table


def _classes(log: CaffeLog, net: int, classes: tuple[str, ...]) -> Text:
    """AP of every class at the last test, if the log shows it."""
    words = [
        f"{classes[label] if label < len(classes) else f'class {label}'} {series.value[-1]:.3f}"
        for label, series in sorted(log.class_ap.get(net, {}).items())
    ]
    return Text(", ".join(words), style="dim")
