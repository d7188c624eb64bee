"""The paper's gradient figure: loss, size of the gradient, and how much that size fluctuates.

What exactly the paper plots as fluctuation is not known. Here it is the factor by which the L2
norm of the gradient changes from one iteration to the next, whichever way: with norms ``n``,

    f(t) = max(n(t), n(t-1)) / min(n(t), n(t-1))

and the curve is its geometric mean over `WINDOW` of the run. It is 1 for a gradient of constant
size, has no unit, and does not see how large the gradient is.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_text
from scratchdet_caffe.report.curves import STYLE

Floats = npt.NDArray[np.float64]

COLOURS = ("#2457b5", "#c2332b", "#2e9447")
"""As in the paper: without BatchNorm, with it at the same rate, with it at ten times the rate."""
WINDOW = 0.1
"""Share of a run over which losses and fluctuations are averaged."""
_MOST_POINTS = 1500


@dataclass(frozen=True)
class Trace:
    """A ``gradients.csv``: ``(T,)`` each, for iterations in rising order, up to the first whose
    loss or gradient is not finite."""

    iteration: npt.NDArray[np.int64]
    loss: Floats
    norm: Floats

    @property
    def fluctuation(self) -> Floats:
        """``(T,)`` the factor by which the norm changed since the iteration before; first 1."""
        steps = np.abs(np.diff(np.log(np.maximum(self.norm, 1e-30))))
        return np.asarray(np.exp(np.concatenate([[0.0], steps])))


def read_trace(path: str | os.PathLike[str]) -> Trace:
    """Read what ``train --trace-gradients`` wrote.

    Raises:
        UserError: The file is missing or damaged, or holds no iteration.
    """
    rows = list(csv.DictReader(read_text(path, "trace of gradients").splitlines()))
    try:
        table = np.array(
            [[float(row[key]) for key in ("iteration", "loss", "gradient_norm")] for row in rows]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not what train --trace-gradients writes ({error})") from error
    if not len(table):
        raise UserError(f"{path}: holds no iteration")
    lost = np.flatnonzero(~np.isfinite(table).all(axis=1))
    table = table[: lost[0]] if len(lost) else table
    return Trace(table[:, 0].astype(np.int64), table[:, 1], table[:, 2])


def running_mean(values: Floats, share: float = WINDOW) -> Floats:
    """Return the mean over ``share`` of all values around each, over fewer at both ends."""
    half = max(1, int(len(values) * share / 2))
    total = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    return np.asarray((total[high] - total[low]) / (high - low))


def gradient_figure(groups: Mapping[str, Mapping[str, Sequence[Trace]]]) -> Figure:
    """Draw the three panels for each group of runs, a row each.

    Args:
        groups: By title of the row, by label of the curve (three at most), one trace per seed.
            Losses and norms are those of the first seed, with the mean over a window on top;
            fluctuations are the mean over all seeds, their range shaded.
    """
    with matplotlib.rc_context(STYLE):
        height = 3.1 * len(groups)
        figure = Figure(figsize=(12, height), layout="constrained")
        rows = figure.subplots(len(groups), 3, squeeze=False)
        for axes, (title, curves) in zip(rows, groups.items()):
            _row(axes, title, curves)
    return figure


def _row(axes: Sequence[Axes], title: str, curves: Mapping[str, Sequence[Trace]]) -> None:
    loss, norm, fluctuation = axes
    for (label, traces), colour in zip(curves.items(), COLOURS):
        first = traces[0]
        shown = _spread(len(first.iteration))
        at = first.iteration[shown]
        for panel, values in ((loss, first.loss), (norm, first.norm)):
            panel.plot(at, values[shown], color=colour, linewidth=0.5, alpha=0.28)
            panel.plot(at, running_mean(values, 0.03)[shown], color=colour, linewidth=1.5)
        smooth = np.stack([np.exp(running_mean(np.log(t.fluctuation))) for t in _even(traces)])
        fluctuation.plot(at, smooth.mean(axis=0)[shown], color=colour, linewidth=1.8, label=label)
        if len(smooth) > 1:
            low, high = smooth.min(axis=0)[shown], smooth.max(axis=0)[shown]
            fluctuation.fill_between(at, low, high, color=colour, alpha=0.18, linewidth=0)
    every = [trace for traces in curves.values() for trace in traces[:1]]
    loss.set_ylim(0, 1.08 * _high([running_mean(trace.loss, 0.02) for trace in every], 0.995))
    norm.set_yscale("log")
    names = ("training loss", "L2 norm of the gradient", "fluctuation of that norm")
    _name(axes, title, names)


def _name(axes: Sequence[Axes], title: str, names: Sequence[str]) -> None:
    """Write the title of a row, what each of its panels shows, and the legend."""
    axes[0].set_title(title, loc="left", fontsize=10, fontweight="bold")
    for panel, name in zip(axes, names):
        panel.set_xlabel("iteration")
        panel.set_ylabel(name)
    axes[-1].legend(loc="upper right", fontsize=8)


def _even(traces: Sequence[Trace]) -> list[Trace]:
    """The traces cut to the length of the shortest, so that they can be averaged."""
    length = min(len(trace.iteration) for trace in traces)
    return [Trace(t.iteration[:length], t.loss[:length], t.norm[:length]) for t in traces]


def _high(curves: Sequence[Floats], share: float) -> float:
    return float(max(np.quantile(curve[np.isfinite(curve)], share) for curve in curves))


def _spread(count: int) -> npt.NDArray[np.int64]:
    keep = np.linspace(0, count - 1, min(count, _MOST_POINTS)).round()
    return np.asarray(keep, np.int64)


@dataclass(frozen=True)
class Landscape:
    """A ``landscape.csv``: S steps along the gradient from each of T iterations.

    Attributes:
        iteration: ``(T,)``.
        loss: ``(T, S)`` after each step.
        distance: ``(T, S)`` of the gradient there to the gradient at the start, L2.
        smoothness: ``(T, S)`` that distance over the length of the step.
    """

    iteration: npt.NDArray[np.int64]
    loss: Floats
    distance: Floats
    smoothness: Floats


def read_landscape(path: str | os.PathLike[str]) -> Landscape:
    """Read what ``study.landscape`` wrote.

    Raises:
        UserError: The file is missing or damaged.
    """
    rows = list(csv.DictReader(read_text(path, "landscape").splitlines()))
    try:
        iterations = sorted({int(row["iteration"]) for row in rows})
        shape = (len(iterations), -1)
        columns: dict[str, Any] = {
            name: np.array([float(row[name]) for row in rows]).reshape(shape)
            for name in ("loss", "gradient_distance", "smoothness")
        }
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not what reproduce writes ({error})") from error
    return Landscape(
        np.array(iterations, np.int64),
        columns["loss"], columns["gradient_distance"], columns["smoothness"],
    )  # fmt: skip


def landscape_figure(groups: Mapping[str, Mapping[str, Landscape]]) -> Figure:
    """Draw what Santurkar et al. (2018) look at, a row for each group of runs.

    The loss and the distance of the gradient over the steps that were tried (range), and the
    effective smoothness, the largest distance over the length of the step.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12, 3.1 * len(groups)), layout="constrained")
        rows = figure.subplots(len(groups), 3, squeeze=False)
        for axes, (title, curves) in zip(rows, groups.items()):
            loss, distance, smoothness = axes
            for (label, own), colour in zip(curves.items(), COLOURS):
                for panel, values in ((loss, own.loss), (distance, own.distance)):
                    low, high = values.min(axis=1), values.max(axis=1)
                    panel.fill_between(own.iteration, low, high, color=colour, alpha=0.3, lw=0)
                    panel.plot(own.iteration, high, color=colour, linewidth=0.8)
                worst = own.smoothness.max(axis=1)
                smoothness.plot(own.iteration, worst, color=colour, linewidth=1.6, label=label)
            names = ("loss along the gradient", "change of the gradient", "effective smoothness")
            _name(axes, title, names)
            for panel in axes:
                panel.set_yscale("log")
    return figure
