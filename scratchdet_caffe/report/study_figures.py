"""Figures of a study, made of ``table.json`` and the folders of its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from scratchdet_caffe.report.colours import class_colour
from scratchdet_caffe.report.curves import ALARM, INK, STYLE, smoothed
from scratchdet_caffe.report.log import CaffeLog

Json = dict[str, Any]
COLUMN_COLOURS = ("#9ab8d8", "#4f86c6", "#1f3f73")
"""Of the columns of a grid, from the lowest rate to the highest."""
SIZES = {"aps": "small", "apm": "medium", "apl": "large"}
SIZE_COLOURS = ("#e8a13a", "#4f86c6", "#5f6b76")


def result_figure(table: Json) -> Figure:
    """Draw our numbers, a line for each row: the mean as a bar, the seeds as dots, NaN as said."""
    word, name = next(iter(table["measures"].items()))
    lines = list(dict.fromkeys(row["label"] for row in table["rows"] if row["cells"]))
    columns = table["columns"] or [""]
    height = 0.8 / len(columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 0.9 + 0.3 * len(lines) * max(1.3, len(columns))),
                        layout="constrained")  # fmt: skip
        axes = figure.subplots()
        for row in table["rows"]:
            if not row["cells"]:
                continue
            index = columns.index(row["column"])
            y = lines.index(row["label"]) + (index - (len(columns) - 1) / 2) * height
            colour = COLUMN_COLOURS[index % 3] if len(columns) > 1 else COLUMN_COLOURS[1]
            own = row["ours"].get(word)
            if own is None or own["mean"] is None:
                said = "NaN" if own and own["diverged"] else "not run"
                axes.text(0.5, y, said, color=ALARM, va="center", fontsize=8)
                continue
            axes.barh(y, own["mean"], height * 0.86, color=colour)
            seeds = [value for value in own["seeds"].values() if value is not None]
            if len(seeds) > 1:
                axes.plot(seeds, [y] * len(seeds), ".", color="#111", markersize=4)
            if table["scale"] == "full" and (said := row["paper"].get(word)) and said["value"]:
                axes.plot(said["value"], y, "D", color=ALARM, markersize=4, fillstyle="none")
        axes.set_yticks(range(len(lines)), lines)
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.set_xlabel(name + (", %; dots: seeds" if len(table["seeds"]) > 1 else ", %"))
        axes.grid(axis="y", visible=False)
        if len(columns) > 1:
            for column, colour in zip(columns, COLUMN_COLOURS):
                axes.barh(0, 0, color=colour, label=f"{column} rate")
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def size_figure(table: Json) -> Figure | None:
    """Draw AP of small, medium and large objects, a line for each row; None without them."""
    rows = [row for row in table["rows"]
            if row["ours"].get("aps") and row["ours"]["aps"]["mean"] is not None]  # fmt: skip
    if not rows:
        return None
    labels = [", ".join(filter(None, (r["label"], r["column"] and f"{r['column']} rate")))
              for r in rows]  # fmt: skip
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 0.9 + 0.42 * len(rows)), layout="constrained")
        axes = figure.subplots()
        for index, ((word, name), colour) in enumerate(zip(SIZES.items(), SIZE_COLOURS)):
            y = np.arange(len(rows)) + (index - 1) * 0.26
            axes.barh(y, [row["ours"][word]["mean"] or 0 for row in rows], 0.24,
                      color=colour, label=name)  # fmt: skip
            for at, row in zip(y, rows):
                seeds = [
                    value for value in row["ours"][word]["seeds"].values() if value is not None
                ]
                if len(seeds) > 1:
                    axes.plot(seeds, [at] * len(seeds), ".", color="#111", markersize=3)
        axes.set_yticks(range(len(rows)), labels)
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.set_xlabel("AP at IoU 0.5 to 0.95, %, by size of the objects")
        axes.grid(axis="y", visible=False)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def loss_figure(curves: Mapping[str, Mapping[str, CaffeLog]], columns: Sequence[str]) -> Figure:
    """Draw the training losses, a panel for each line of the grid, or one for all rows.

    Args:
        curves: By label of the line, by column (or label), the log of the first seed.
        columns: Words of the columns; empty where the table is no grid.
    """
    panels = curves if columns else {"": {line: own[""] for line, own in curves.items()}}
    wide = min(3, len(panels))
    high = -(-len(panels) // wide)
    with matplotlib.rc_context(STYLE):
        size = (9, 4) if not columns else (11, 2.5 * high)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(high, wide, squeeze=False, sharex=True, sharey=True).ravel()
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        for axes, (title, own) in zip(grid, panels.items()):
            for index, (name, log) in enumerate(own.items()):
                colour = COLUMN_COLOURS[columns.index(name) % 3] if columns else class_colour(index)
                _loss(axes, log, colour, f"{name} rate" if columns else name)
            axes.set_title(title, fontsize=9, loc="left")
        for axes in grid[::wide]:
            axes.set_ylabel("training loss")
        for axes in grid[-wide:]:
            axes.set_xlabel("iteration")
        place: Any = {} if columns else {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
        grid[0].legend(fontsize=8, **place)
        grid[0].set_yscale("log")
        highest = [log.loss.value for own in panels.values() for log in own.values()]
        grid[0].set_ylim(top=_sensible_top(highest))
    return figure


def _loss(axes: Any, log: CaffeLog, colour: str, label: str) -> None:
    """A line, with a cross where the loss was lost."""
    finite = np.isfinite(log.loss.value)
    at, values = log.loss.iteration[finite], log.loss.value[finite]
    axes.plot(at, smoothed(values, 0.05), color=colour, linewidth=1.4, label=label)
    if not finite.all() and len(at):
        axes.plot(at[-1:], values[-1:], "x", color=ALARM, markersize=7, markeredgewidth=2)


def _sensible_top(curves: Sequence[Any]) -> float:
    """A limit that shows the trainings that hold; a lost one may go to 1e30."""
    starts = [curve[np.isfinite(curve)] for curve in curves]
    typical = [float(np.median(curve)) for curve in starts if len(curve)]
    return 4 * max(float(np.median(typical)), 1e-3) if typical else 1.0


def class_figure(classes: Mapping[str, Json], rule: str, colour: str = INK) -> Figure:
    """Draw AP per class as bars.

    Args:
        classes: ``classes`` of ``metrics.json``.
        rule: Which AP.
        colour: Of the bars where there are too many for colours of their own.
    """
    names = list(classes)
    values = [100 * (own["ap"].get(rule) or 0.0) for own in classes.values()]
    colours = [class_colour(i) if len(names) <= 24 else colour for i in range(len(names))]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 0.7 + 0.26 * len(names)), layout="constrained")
        axes = figure.subplots()
        axes.barh(names, values, 0.7, color=colours)
        for at, value in enumerate(values):
            axes.text(value, at, f" {value:.1f}", va="center", fontsize=8)
        axes.invert_yaxis()
        axes.set_xlim(0, 108)
        axes.set_xlabel(f"AP, %, {rule}")
        axes.grid(axis="y", visible=False)
    return figure
