"""All cells of a study together: ours beside the paper's, with the verdict."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scratchdet_caffe.experiment.paper_tables import Quoted, Row
from scratchdet_caffe.files import write_text
from scratchdet_caffe.study.cells import Cell, Wish
from scratchdet_caffe.study.claims import judge
from scratchdet_caffe.study.environment import environment
from scratchdet_caffe.study.record import DIVERGED, DONE, Record, read_record

REPRODUCED, CLOSE = 0.5, 1.0
"""Largest difference to the paper's number, in points, for these verdicts."""


def collect(wish: Wish, cells: Sequence[Cell]) -> dict[str, Any]:
    """Return what ``table.json`` holds: every row of the table with what its cells came to.

    Numbers that are not finite are None there; ``diverged`` counts them.
    """
    table = wish.table
    records = [(cell, read_record(cell.folder)) for cell in cells]
    rows = []
    for row in table.rows:
        own = [(cell, record) for cell, record in records if cell.row.name == row.name]
        rows.append(_row(wish, row, own))
    values = {row["name"]: values_of(row) for row in rows}
    first = next(iter(table.measures))
    claims = [judge(claim, values, first) for claim in table.claims if wish.scale == "mini"]
    spent = [record for _, record in records]
    return {
        "table": table.name,
        "title": table.title,
        "about": table.about,
        "scale": wish.scale,
        "about_scale": table.scales[wish.scale].about,
        "measures": dict(table.measures),
        "columns": list(table.columns),
        "seeds": list(wish.seeds),
        "changes": wish.changes,
        "traced": table.traced,
        "rows": rows,
        "claims": claims,
        "cpu_minutes": round(sum(sum(r.cpu_seconds.values()) for r in spent) / 60, 1),
        "environment": environment(wish.device),
        "device": wish.device,
        "engine": wish.engine,
        "date": time.strftime("%Y-%m-%d"),
    }


def write_table(folder: Path, table: dict[str, Any]) -> None:
    """Write ``table.json`` into ``folder``."""
    write_text(folder / "table.json", json.dumps(table, indent=1, allow_nan=False) + "\n")


def _row(wish: Wish, row: Row, own: list[tuple[Cell, Record]]) -> dict[str, Any]:
    words = row.words.get(wish.scale)
    ended = [(cell, record) for cell, record in own if record.ended]
    return {
        "name": row.name,
        "label": row.label,
        "column": row.column,
        "reference": row.reference,
        "note": row.note,
        "paper": {word: _quoted(value) for word, value in row.paper.items()},
        "recipe": words.recipe if words else "",
        "rate": own[0][0].job.recipe.solver.base_lr if own else None,
        "words": {"arch": words.arch, "data": words.data, "bn": words.bn, "set": list(words.set),
                  "pretrained": words.pretrained} if words else {},
        "ours": {word: _spread(word, ended) for word in wish.table.measures if ended},
        "cells": [_cell(wish, cell, record) for cell, record in own],
        "verdict": verdict(wish, row, ended),
    }  # fmt: skip


def _cell(wish: Wish, cell: Cell, record: Record) -> dict[str, Any]:
    return {
        "seed": cell.seed,
        "state": record.state or "not run",
        "reason": record.reason,
        "measures": record.measures,
        "folder": cell.folder.relative_to(wish.folder).as_posix(),
        "job": cell.trained_in.relative_to(wish.folder).as_posix(),
        "commands": record.commands,
        "cpu_minutes": round(sum(record.cpu_seconds.values()) / 60, 2),
        "wall_minutes": round(sum(record.wall_seconds.values()) / 60, 2),
    }


def _quoted(paper: Quoted) -> dict[str, Any]:
    diverged = math.isnan(paper.value)
    return {
        "value": None if diverged else paper.value,
        "diverged": diverged,
        "certainty": paper.certainty,
        "source": paper.source,
    }


def _spread(word: str, ended: list[tuple[Cell, Record]]) -> dict[str, Any]:
    """Mean, standard deviation and range over the seeds that did not diverge."""
    found = {cell.seed: record.measures.get(word) for cell, record in ended if record.state == DONE}
    values = [value for value in found.values() if value is not None]
    return {
        "seeds": found,
        "mean": float(np.mean(values)) if values else None,
        "deviation": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "low": min(values, default=None),
        "high": max(values, default=None),
        "diverged": sum(record.state == DIVERGED for _, record in ended),
    }


def values_of(row: dict[str, Any]) -> dict[str, dict[int, float]]:
    """Return the numbers of a row of the table by measure and seed, -inf where it diverged."""
    lost = {cell["seed"]: -math.inf for cell in row["cells"] if cell["state"] == DIVERGED}
    return {
        word: {**{s: v for s, v in own["seeds"].items() if v is not None}, **lost}
        for word, own in row["ours"].items()
    }


def verdict(wish: Wish, row: Row, ended: list[tuple[Cell, Record]]) -> str:
    """Return how our number stands to the paper's; empty where they do not compare.

    They do at full scale, with the table's own words, on the first measure that the paper has.
    """
    measured = [word for word in wish.table.measures if word in row.paper]
    if wish.scale != "full" or wish.changes or not ended or not measured:
        return ""
    paper, ours = row.paper[measured[0]], _spread(measured[0], ended)
    if paper.certainty == "remembered":
        return "none: the paper's number is only remembered"
    if ours["mean"] is None and not ours["diverged"]:
        return ""
    if math.isnan(paper.value):
        return "reproduced" if ours["mean"] is None else "not reproduced: it trained"
    if ours["diverged"]:
        return f"not reproduced: {ours['diverged']} of {len(ended)} diverged"
    apart = abs(ours["mean"] - paper.value)
    return "reproduced" if apart <= REPRODUCED else "close" if apart <= CLOSE else "not reproduced"
