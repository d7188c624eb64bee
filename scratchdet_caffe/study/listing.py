"""What a user asks for before anything is run: all rows, and what a study would run and cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from scratchdet_caffe.cli import text_table
from scratchdet_caffe.experiment.paper_tables import CERTAINTY, PaperTable, Row
from scratchdet_caffe.render import write_job
from scratchdet_caffe.study.cells import Cell, check_unchanged
from scratchdet_caffe.study.cost import TFLOPS, Cost, cost_of
from scratchdet_caffe.study.pretraining import brought
from scratchdet_caffe.study.processes import command_line
from scratchdet_caffe.study.session import Session


def listing(tables: Sequence[PaperTable]) -> str:
    """Return every row of ``tables``: what the paper says, how sure that is, where it stands."""
    lines = []
    sources: dict[str, int] = {}
    for table in tables:
        said = [word for word in table.measures if any(word in row.paper for row in table.rows)]
        measures = ", ".join(table.measures[word] for word in said)
        lines += ["", f"{table.name}: {table.title} ({measures})", f"  {table.about}", ""]
        rows = [
            (
                row.name,
                row.label,
                _numbers(row, said),
                _certainty(row),
                _runs(row),
                _source(row, sources),
            )
            for row in table.rows
        ]
        head = ("row", "what", "paper", "certainty", "runs at", "source")
        lines += [f"  {line}" for line in text_table(head, rows, left=len(head)).splitlines()]
        notes = {row.note: row.name for row in reversed(table.rows) if row.note}
        lines += [f"  {name}: {note}" for note, name in reversed(notes.items())]
    lines += ["", "sources"]
    lines += [f"  [{number}] {source}" for source, number in sources.items()]
    lines += ["", "certainty"]
    lines += [f"  {word:<10} {meaning}" for word, meaning in CERTAINTY.items()]
    return "\n".join(lines[1:])


def _numbers(row: Row, measures: Sequence[str]) -> str:
    values = {word: quoted.value for word, quoted in row.paper.items()}
    shown = [
        "-" if word not in values else "NaN" if math.isnan(values[word]) else f"{values[word]:g}"
        for word in measures
    ]
    return " / ".join(shown) if row.paper else "not known"


def _certainty(row: Row) -> str:
    return ", ".join(dict.fromkeys(paper.certainty for paper in row.paper.values())) or "-"


def _source(row: Row, numbers: dict[str, int]) -> str:
    """The numbers of the row's sources; a new one gets the next."""
    found = dict.fromkeys(quoted.source for quoted in row.paper.values())
    return ", ".join(f"[{numbers.setdefault(s, len(numbers) + 1)}]" for s in found) or "-"


def _runs(row: Row) -> str:
    return ", ".join(row.words) or "value only"


def dry_run(session: Session, tflops: float | None = None) -> str:
    """Render every cell and return what would be run, with estimates of time and disk.

    Drawn pictures that are missing are made, which takes seconds; nothing is trained.

    Args:
        session: What is asked for.
        tflops: The speed to assume, 1e12 FLOPs a second; None for `TFLOPS` of the device.
    """
    wish, datasets = session.wish, session.datasets
    speed = tflops or TFLOPS[wish.device if wish.scale == "mini" else "cuda"]
    words = session.words()
    session.prepare([word for word in words if not datasets.brought(word)])
    cells = session.cells()
    check_unchanged(cells)
    lines, rows, total = [], [], Cost(0, 0)
    for cell in cells:
        if not cell.row.scores:
            write_job(cell.job)
        cost = cost_of(cell, wish.table.traced)
        total = Cost(total.flops + cost.flops, total.bytes + cost.bytes)
        solver, recipe = cell.job.recipe.solver, cell.job.recipe
        pictures = recipe.data.batch_size * (solver.iter_size or 1)
        rows.append(
            (cell.name, cell.words.recipe, f"{solver.base_lr:g}", solver.max_iter, pictures,
             _duration(cost.hours(speed)), _size(cost.bytes), cell.job.folder)
        )  # fmt: skip
    head = ("cell", "recipe", "lr", "iterations", "batch", "time", "disk", "prototxts")
    lines += [text_table(head, rows, left=2), ""]
    for word in words:
        if datasets.made_here(word) and not datasets.ready(word):
            lines.append(f"first: {command_line('prepare', datasets.arguments(word))}")
    how = wish.table.scales[wish.scale].pretraining
    for backbone, file in brought(cells):
        if how and backbone not in wish.pretrained:
            lines.append(f"backbone {backbone}: trained first, {how.max_iter} iterations")
        else:
            there = "" if Path(file).is_file() else " (to be brought)"
            lines.append(f"backbone {backbone}: {file}{there}")
    unit = "core" if speed == TFLOPS["cpu"] else "GPU"
    lines += [
        f"{len(cells)} cells, {_duration(total.hours(speed))} on one {unit} that sustains "
        f"{speed:g} TFLOP/s (an assumption: --tflops), {_size(total.bytes)} of snapshots",
        f"rendered below {wish.folder}; a cell by hand: {_by_hand(cells[0])}",
    ]
    return "\n".join(lines)


def _by_hand(cell: Cell) -> str:
    return command_line("train", ["--solver", f"{cell.job.folder}/solver.prototxt", "--resume"])


def _duration(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min"


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
