"""Reads the TOML files of the paper's tables.

``[[row]]`` tables hold the numbers, one for each measure, or a list with one for each column of
a grid. ``[full]`` and ``[mini]`` say what all rows run at that scale, in the words of ``gen``; a
row may say otherwise, for all scales (``arch``, ``set``, ...) or one (``mini.arch``). ``choice``
names settings that several rows share; the columns of a grid are such choices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment.build import build
from scratchdet_caffe.experiment.paper_tables import (
    CERTAINTY,
    SCALES,
    Claim,
    PaperTable,
    Preparation,
    Pretraining,
    Quoted,
    Row,
    Scale,
    Words,
)
from scratchdet_caffe.experiment.recipe_files import toml
from scratchdet_caffe.experiment.registry import unknown
from scratchdet_caffe.files import read_text

_FOLDER = resources.files("scratchdet_caffe.experiment").joinpath("paper")
_NO_TABLES = ("sources", "datasets")


@dataclass(frozen=True)
class _Run:
    """What a row runs; empty words are said elsewhere."""

    arch: str = ""
    data: str = ""
    recipe: str = ""
    set: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Scale(_Run):
    about: str = ""
    size_bounds: tuple[float, ...] = ()
    pretrained: str = ""
    weights: dict[str, str] = field(default_factory=dict)
    pretraining: Pretraining | None = None
    choice: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Row(_Run):
    name: str
    label: str = ""
    bn: str = ""
    choice: str = ""
    pretrained: bool = False
    scores: str = ""
    paper: dict[str, tuple[float, ...]] = field(default_factory=dict)
    certainty: str = ""
    source: str = ""
    note: str = ""
    reference: bool = False
    full: _Run = _Run()
    mini: _Run = _Run()


@dataclass(frozen=True)
class _Table:
    title: str
    about: str
    certainty: str
    source: str
    measures: dict[str, str]
    row: tuple[_Row, ...]
    columns: tuple[str, ...] = ()
    claim: tuple[Claim, ...] = ()
    traced: bool = False
    like: str = ""
    datasets: dict[str, Preparation] = field(default_factory=dict)
    full: _Scale = _Scale()
    mini: _Scale = _Scale()


def table_names() -> list[str]:
    """Return the names of all tables and figures, sorted."""
    files = (entry.name for entry in _FOLDER.iterdir())
    names = [name.removesuffix(".toml") for name in files if name.endswith(".toml")]
    return sorted(name for name in names if name not in _NO_TABLES)


def load_table(word: str) -> PaperTable:
    """Return the table that ``word`` names: one of `table_names`, or a TOML file of one's own.

    Raises:
        UserError: Neither, or the file does not describe a table.
    """
    if word.endswith(".toml"):
        return _table(Path(word).stem, _parse(read_text(word, "table"), word), word)
    if word not in table_names():
        raise unknown("table", word, table_names())
    return _table(word, _shipped(word), f"table {word}")


@cache
def _shipped(name: str) -> dict[str, Any]:
    return _parse(_FOLDER.joinpath(f"{name}.toml").read_text(encoding="utf-8"), name)


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        return dict(toml.loads(text))
    except toml.TOMLDecodeError as error:
        raise UserError(f"{where}: not TOML: {error}") from error


def _table(name: str, table: dict[str, Any], where: str) -> PaperTable:
    raw = build(_Table, _listed(table), where)
    if raw.like:
        like = build(_Table, _listed(_shipped(raw.like)), raw.like)
        raw = replace(
            raw, full=_laid_over(like.full, raw.full), mini=_laid_over(like.mini, raw.mini)
        )
    rows = tuple(row for given in raw.row for row in _rows(raw, given, where))
    _check(rows, raw, where)
    return PaperTable(
        name=name,
        title=raw.title,
        about=raw.about,
        measures=raw.measures,
        rows=rows,
        datasets=_datasets(rows, raw, where),
        columns=raw.columns,
        claims=raw.claim,
        traced=raw.traced,
        scales={scale: _scale(getattr(raw, scale), where) for scale in SCALES},
    )


def _laid_over(below: _Scale, above: _Scale) -> _Scale:
    """Return ``below`` with what ``above`` says; settings of both hold, the latter win."""
    said = {name: value for name, value in vars(above).items() if value}
    return replace(below, **{**said, "set": (*below.set, *above.set)})


def _scale(raw: _Scale, where: str) -> Scale:
    if len(raw.size_bounds) not in (0, 2):
        raise UserError(f"{where}: size_bounds are two sides, in pixels")
    bounds = (raw.size_bounds[0], raw.size_bounds[1]) if raw.size_bounds else None
    return Scale(raw.about, bounds, raw.weights, raw.pretraining)


def _listed(table: dict[str, Any]) -> dict[str, Any]:
    """Return ``table`` with lists where its rows give one number."""

    def listed(paper: dict[str, Any]) -> dict[str, Any]:
        return {key: v if isinstance(v, list) else [v] for key, v in paper.items()}

    rows = [{**row, "paper": listed(row.get("paper", {}))} for row in table.get("row", [])]
    return {**table, "row": rows}


def _rows(raw: _Table, given: _Row, where: str) -> Iterator[Row]:
    """The entries of one ``[[row]]``: one, or one for each column."""
    count = max(1, len(raw.columns))
    for measure, values in given.paper.items():
        if measure not in raw.measures:
            raise unknown(f"measure of {where}", measure, list(raw.measures))
        if len(values) != count:
            raise UserError(f"{where}: row '{given.name}' has {len(values)} values, not {count}")
    certainty, source = given.certainty or raw.certainty, given.source or raw.source
    if certainty not in CERTAINTY:
        raise unknown(f"certainty in {where}", certainty, list(CERTAINTY))
    stands = _shipped("sources").get(source, source)
    for index, column in enumerate(raw.columns or ("",)):
        choice = column or given.choice
        words = {scale: _words(raw, given, scale, choice, where) for scale in SCALES}
        yield Row(
            name=f"{given.name}-{column}" if column else given.name,
            label=given.label or given.name,
            column=column,
            paper={key: Quoted(v[index], certainty, stands) for key, v in given.paper.items()},
            note=given.note,
            reference=given.reference,
            scores=given.scores,
            words={scale: found for scale, found in words.items() if found},
        )


def _words(raw: _Table, given: _Row, scale: str, choice: str, where: str) -> Words | None:
    """What the row runs at ``scale``; None where it cannot be run."""
    base: _Scale = getattr(raw, scale)
    own: _Run = getattr(given, scale)
    if given.scores:
        scored = next((row for row in raw.row if row.name == given.scores), None)
        if scored is None:
            raise unknown(f"row of {where}", given.scores, [row.name for row in raw.row])
        return _words(raw, scored, scale, choice, where)
    arch, data, recipe = (
        getattr(own, word) or getattr(given, word) or getattr(base, word)
        for word in ("arch", "data", "recipe")
    )
    if not (base.recipe and arch and data):
        return None
    if choice and choice not in base.choice:
        raise unknown(f"choice of {where} [{scale}]", choice, list(base.choice))
    settings = (*base.set, *base.choice.get(choice, ()), *given.set, *own.set)
    pretrained = (base.pretrained or "another training") if given.pretrained else ""
    return Words(arch, data, recipe, given.bn, settings, pretrained)


def _datasets(rows: tuple[Row, ...], raw: _Table, where: str) -> dict[str, Preparation]:
    """How the data that the table needs is made: by itself, or as ``datasets.toml`` has it."""
    shipped = _shipped("datasets")
    words = [words.data for row in rows for words in row.words.values()]
    words += [s.pretraining.data for s in (raw.full, raw.mini) if s.pretraining]
    found = dict(raw.datasets)
    for word in words:
        if word not in found:
            if word not in shipped:
                raise unknown(f"data of {where}", word, [*raw.datasets, *shipped])
            found[word] = build(Preparation, shipped[word], f"data {word}")
    return found


def _check(rows: tuple[Row, ...], raw: _Table, where: str) -> None:
    """Refuse a table whose parts do not fit together."""
    names = [row.name for row in rows]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserError(f"{where}: two rows are called '{min(twice)}'")
    for claim in raw.claim:
        for side in (*claim.better, *claim.worse, *claim.diverge):
            for name in side.partition(":")[0].split(" - "):
                if name not in names:
                    raise unknown(f"row of {where} in a claim", name, names)
