"""One HTML page about a study that carries everything in itself, and a card for each model."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_text, write_text, written_aside
from scratchdet_caffe.metrics import AREA, score
from scratchdet_caffe.report import study_text as text
from scratchdet_caffe.report.card import model_card
from scratchdet_caffe.report.colours import class_colour
from scratchdet_caffe.report.curves import as_data_uri, picture, precision_recall
from scratchdet_caffe.report.gradients import (
    WINDOW,
    gradient_figure,
    landscape_figure,
    read_landscape,
    read_trace,
)
from scratchdet_caffe.report.html import render_html
from scratchdet_caffe.report.job import JobFolder, read_job
from scratchdet_caffe.report.log import CaffeLog, read_log
from scratchdet_caffe.report.page import MIN_SCORE, Picture, render_page
from scratchdet_caffe.report.pictures import draw
from scratchdet_caffe.report.study_figures import (
    class_figure,
    loss_figure,
    result_figure,
    size_figure,
)

Json = dict[str, Any]
Pictures = Callable[[JobFolder, int], Sequence[Picture]]


def write_study(folder: Path, table: Json, pictures: Pictures) -> None:
    """Write ``table.html``, its figures as PNG, and report and card of every cell that is done.

    Args:
        folder: Of the study, with the cells below.
        table: What ``table.json`` holds.
        pictures: Returns some pictures of a job's test set.
    """
    for row in table["rows"]:
        for cell in row["cells"]:
            if cell["state"] == "done":
                _write_cell(folder, table, row, cell)
    best = _best(table)
    job = read_job(folder / best["job"]) if best else None
    figures = _figures(folder, table, job)
    write_text(folder / "table.html", _page(table, figures, best, job, pictures))
    for name, figure in figures.items():
        with written_aside(folder / "figures" / f"{name}.png") as stream:
            stream.write(picture(figure, "png"))


def _write_cell(folder: Path, table: Json, row: Json, cell: Json) -> None:
    """Write report and card, unless they are younger than the results."""
    path = folder / cell["job"]
    page, card = path / "report.html", path / "model_card.md"
    scored = path / "results" / "metrics.json"
    if card.exists() and scored.exists() and card.stat().st_mtime > scored.stat().st_mtime:
        return
    job = read_job(path)
    write_text(page, render_page(job, at=page))
    where = path / "environment.json"
    about: Json = {"note": f"{table['title']}, scale {table['scale']}: {row['label']}"
                   + (f", {row['column']} rate" if row["column"] else "") + "."}  # fmt: skip
    if where.exists():
        about["environment"] = json.loads(read_text(where))
    write_text(card, model_card(job, about))


def _page(
    table: Json,
    figures: dict[str, Figure],
    best: Json | None,
    job: JobFolder | None,
    pictures: Pictures,
) -> str:
    drawings = []
    if job and job.results:
        drawings = [
            draw(image, pixels, job.classes, MIN_SCORE) for image, pixels in pictures(job, 8)
        ]
    return render_html(
        "study.html",
        title=table["title"],
        table=table,
        recipes=list(dict.fromkeys(row["recipe"] for row in table["rows"] if row["cells"])),
        first_measure=next(iter(table["measures"].values())),
        claims=[(claim, text.why(claim)) for claim in table["claims"]],
        grid_head=text.grid_head(table),
        grid=_grid(table) if table["columns"] else [],
        head=text.head(table),
        rows=list(zip(table["rows"], text.rows(table))),
        notes=text.footnotes(table),
        figures={name: as_data_uri(figure) for name, figure in figures.items()},
        window=WINDOW,
        best=best,
        drawings=drawings,
        legend=[(n, class_colour(i)) for i, n in enumerate(job.classes[1:])] if job else [],
        command=_command(table),
    )


def _command(table: Json) -> str:
    words = [table["table"], "--scale", table["scale"], "--seeds", *map(str, table["seeds"])]
    words += [word for change in table["changes"] for word in change.split(" ", 1)]
    return "python -m scratchdet_caffe.reproduce " + shlex.join(words)


def _best(table: Json) -> Json | None:
    """The first done cell of the row with the highest mean."""
    word = next(iter(table["measures"]))
    ranked = [
        (row["ours"][word]["mean"], row)
        for row in table["rows"]
        if row["ours"].get(word) and row["ours"][word]["mean"] is not None
    ]
    if not ranked:
        return None
    row = max(ranked, key=lambda pair: pair[0])[1]
    cell = next(cell for cell in row["cells"] if cell["state"] == "done")
    label = row["label"] + (f", {row['column']} rate" if row["column"] else "")
    return {"label": label, "seed": cell["seed"], "job": cell["job"]}


def _grid(table: Json) -> list[Json]:
    word = next(iter(table["measures"]))
    means = [row["ours"][word]["mean"] for row in table["rows"] if row["ours"].get(word)]
    highest = max((mean for mean in means if mean is not None), default=None)
    lines: dict[str, list[Json]] = {}
    for row in table["rows"]:
        own = row["ours"].get(word)
        cell = {
            "ours": text.ours(row, word),
            "paper": text.paper(row, word),
            "best": bool(own) and own["mean"] is not None and own["mean"] == highest,
        }
        lines.setdefault(row["label"], []).append(cell)
    return [{"label": label, "cells": cells} for label, cells in lines.items()]


def _figures(folder: Path, table: Json, best: JobFolder | None) -> dict[str, Figure]:
    if not any(row["cells"] for row in table["rows"]):
        return {}
    found = {"result": result_figure(table)}
    if (sizes := size_figure(table)) is not None:
        found["sizes"] = sizes
    if curves := _logs(folder, table):
        found["loss"] = loss_figure(curves, table["columns"])
    if table["traced"]:
        found |= traced_figures(folder, table)
    if best and best.metrics:
        found["classes"] = class_figure(best.metrics["classes"], AREA)
    if best and best.results:
        threshold = best.metrics.get("iou_threshold", 0.5)
        found["precision_recall"] = precision_recall(score(best.results, threshold=threshold))
    return found


def _logs(folder: Path, table: Json) -> dict[str, dict[str, CaffeLog]]:
    """By line and column, the log of the first cell that has one."""
    curves: dict[str, dict[str, CaffeLog]] = {}
    for row in table["rows"]:
        for cell in row["cells"]:
            file = folder / cell["job"] / "train.log"
            if cell["job"] == cell["folder"] and file.is_file():
                try:
                    curves.setdefault(row["label"], {})[row["column"]] = read_log(file)
                    break
                except UserError:
                    continue  # a run that was stopped before its first line
    return curves


def traced_figures(folder: Path, table: Json) -> dict[str, Figure]:
    """Return the gradient figure and that of the landscape, as far as their files are there.

    The first row is without BatchNorm; the others are grouped by what stands before the ``-`` of
    their names, as in the paper: on the head, on the backbone.
    """
    groups: dict[str, list[Json]] = {}
    first, *others = table["rows"]
    for row in others:
        groups.setdefault(row["name"].partition("-")[0], [first]).append(row)
    titles = {name: f"BatchNorm on the {name}" for name in groups}
    traces: dict[str, dict[str, Any]] = {}
    landscapes: dict[str, dict[str, Any]] = {}
    for name, rows in groups.items():
        for row in rows:
            paths = [folder / cell["job"] for cell in row["cells"]]
            label = _curve_label(row)
            found = [read_trace(p / "gradients.csv") for p in paths
                     if (p / "gradients.csv").is_file()]  # fmt: skip
            if own := [trace for trace in found if len(trace.iteration) > 1]:
                traces.setdefault(titles[name], {})[label] = own
            if there := [p / "landscape.csv" for p in paths if (p / "landscape.csv").is_file()]:
                landscapes.setdefault(titles[name], {})[label] = read_landscape(there[0])
    figures = {}
    if traces:
        figures["gradients"] = gradient_figure(traces)
    if landscapes:
        figures["landscape"] = landscape_figure(landscapes)
    return figures


def _curve_label(row: Json) -> str:
    word = "no BatchNorm" if row["words"].get("bn") == "none" else "BatchNorm"
    return f"{word}, lr {row['rate']:g}" if row["rate"] is not None else word
