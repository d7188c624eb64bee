"""The table of a study as Markdown, text and CSV, made of ``table.json``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from scratchdet_caffe.cli import text_table
from scratchdet_caffe.files import write_text

Json = dict[str, Any]

MARKS = {"read": "", "secondary": " ²", "remembered": " ³"}
"""Behind a number of the paper; `FOOTNOTES` explain them."""
FOOTNOTES = {
    " ²": "² quoted by a later source; not seen in the paper itself",
    " ³": "³ remembered only; seen in no source, and not to be taken for the paper's",
}


def as_markdown(table: Json) -> str:
    """Return the whole table: grid, rows, claims, how it was made."""
    parts = [f"# {table['title']}", _about(table)]
    if table["columns"]:
        parts += [_markdown(grid_head(table), grid_rows(table))]
    parts += [_markdown(head(table), rows(table))]
    if notes := footnotes(table):
        parts += ["\n".join(f"- {note}" for note in notes)]
    if table["claims"]:
        parts += ["## What the paper claims", _markdown(CLAIM_HEAD, claim_rows(table))]
    parts += [_made(table)]
    return "\n\n".join(parts) + "\n"


def as_text(table: Json) -> str:
    """Return rows and claims for a terminal."""
    parts = [table["title"], text_table(head(table), rows(table), left=2)]
    if table["claims"]:
        parts += [text_table(CLAIM_HEAD, claim_rows(table), left=3)]
    return "\n\n".join(parts)


def write_texts(folder: Path, table: Json) -> None:
    """Write ``table.md`` and ``table.csv`` into ``folder``."""
    write_text(folder / "table.md", as_markdown(table))
    write_text(folder / "table.csv", as_csv(table))


def _about(table: Json) -> str:
    paper = f"The paper: {table['about']}."
    if table["scale"] == "full":
        return paper
    return (
        f"**Scale {table['scale']}: these are not the paper's numbers**, and not meant to compare "
        f"with them. {table['about_scale']} {paper}"
    )


def _made(table: Json) -> str:
    where = table["environment"]
    changes = f" Changed: {', '.join(table['changes'])}." if table["changes"] else ""
    return (
        f"Seeds {', '.join(map(str, table['seeds']))}; {table['cpu_minutes']:g} minutes of "
        f"processor time, {where['processor']}, {table['device']}, {table['engine']} engine, "
        f"torch {where['torch']}, commit {where['commit']}, {table['date']}.{changes}"
    )


def head(table: Json) -> list[str]:
    """Return the head of `rows`."""
    full = table["scale"] == "full"
    compared = ["paper", "difference", "verdict"] if full else ["paper, full scale"]
    first, *others = table["measures"].values()
    return ["row", "recipe", "lr", f"ours: {first}", *others, *compared]


def rows(table: Json) -> list[list[str]]:
    """Return a line for each row of the table."""
    first, *others = table["measures"]
    lines = []
    for row in table["rows"]:
        label = ", ".join(filter(None, (row["label"], _column(row))))
        rate = "" if row["rate"] is None else f"{row['rate']:g}"
        line = [label, row["recipe"] if row["cells"] else "", rate, ours(row, first)]
        line += [ours(row, word) for word in others]
        if table["scale"] == "full":
            line += [paper(row, first), difference(row, first), row["verdict"]]
        else:
            line += [paper(row, first)]
        lines.append(line)
    return lines


def _column(row: Json) -> str:
    return f"{row['column']} rate" if row["column"] else ""


def grid_head(table: Json) -> list[str]:
    """Return the head of `grid_rows`: the learning rates."""
    rates = {row["column"]: row["rate"] for row in table["rows"] if row["rate"] is not None}
    return ["", *(f"{c}: lr {rates[c]:g}" if c in rates else c for c in table["columns"])]


def grid_rows(table: Json) -> list[list[str]]:
    """Return the rows as the paper sets them out: ours, and the paper's in brackets."""
    first = next(iter(table["measures"]))
    lines: dict[str, list[str]] = {}
    for row in table["rows"]:
        cell = ours(row, first) or "not run"
        lines.setdefault(row["label"], [row["label"]]).append(f"{cell} ({paper(row, first)})")
    return list(lines.values())


CLAIM_HEAD = ["claim", "holds", "why"]


def claim_rows(table: Json) -> list[list[str]]:
    """Return a line for each claim, with the ranges over the seeds that decide it."""
    words = {True: "yes", False: "**no**", None: "not decided"}
    return [[claim["text"], words[claim["holds"]], why(claim)] for claim in table["claims"]]


def why(claim: Json) -> str:
    """Return the ranges that decide a claim."""
    if claim["holds"] is None:
        return f"not run: {claim['missing']}"
    sides = [", ".join(map(_range, claim[side])) for side in ("better", "worse")]
    said = [" > ".join(sides) if claim["holds"] else " not above ".join(sides)] * any(sides)
    said += [f"{d['row']}: {d['diverged']} of {d['of']} diverged" for d in claim["diverge"]]
    return "; ".join(said)


def _range(side: Json) -> str:
    low, high = side["low"], side["high"]
    if high is None:
        return f"{side['side']} (diverged)"
    shown = (
        f"{high:.1f}" if low == high else f"{'NaN' if low is None else f'{low:.1f}'} to {high:.1f}"
    )
    return f"{side['side']} ({shown})"


def ours(row: Json, word: str) -> str:
    """Return our number: mean and range over the seeds, NaN where trainings diverged."""
    own = row["ours"].get(word)
    if own is None:
        return ""
    if own["mean"] is None:
        return "NaN" if own["diverged"] else "-"
    shown = f"{own['mean']:.1f}"
    if len([value for value in own["seeds"].values() if value is not None]) > 1:
        shown += f" ({own['low']:.1f} to {own['high']:.1f})"
    if own["diverged"]:
        shown += f", {own['diverged']} NaN"
    return shown


def paper(row: Json, word: str) -> str:
    """Return the paper's number with the mark of its certainty."""
    said = row["paper"].get(word)
    if said is None:
        return "not known"
    return ("NaN" if said["diverged"] else f"{said['value']:g}") + MARKS[said["certainty"]]


def difference(row: Json, word: str) -> str:
    """Return our mean minus the paper's number."""
    own, said = row["ours"].get(word), row["paper"].get(word)
    if own is None or said is None or own["mean"] is None or said["value"] is None:
        return ""
    return f"{own['mean'] - said['value']:+.1f}"


def footnotes(table: Json) -> list[str]:
    """Return what the marks mean, and the remarks on rows."""
    used = {MARKS[p["certainty"]] for row in table["rows"] for p in row["paper"].values()}
    notes = [meaning for mark, meaning in FOOTNOTES.items() if mark in used]
    notes += [f"{row['label']}: {row['note']}" for row in table["rows"] if row["note"]]
    return list(dict.fromkeys(notes))


def _markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(head), line(["---"] * len(head)), *map(line, lines)])


def as_csv(table: Json) -> str:
    """Return one line for each cell: what it ran, how it ended, what it measured, the paper's."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    measures = list(table["measures"])
    writer.writerow(
        ["table", "scale", "row", "column", "recipe", "lr", "seed", "state", *measures,
         *(f"paper_{word}" for word in measures), "certainty", "cpu_minutes", "folder"]
    )  # fmt: skip
    for row in table["rows"]:
        said = row["paper"]
        papers = ["" if (p := said.get(word)) is None else "nan" if p["diverged"] else p["value"]
                  for word in measures]  # fmt: skip
        certainty = next((p["certainty"] for p in said.values()), "")
        for cell in row["cells"] or [{}]:
            lost = "nan" if cell.get("state") == "diverged" else ""
            found = cell.get("measures", {})
            writer.writerow(
                [table["table"], table["scale"], row["name"], row["column"], row["recipe"],
                 row["rate"], cell.get("seed", ""), cell.get("state", "value only"),
                 *(found.get(word, lost) for word in measures), *papers, certainty,
                 cell.get("cpu_minutes", ""), cell.get("folder", "")]
            )  # fmt: skip
    return text.getvalue()
