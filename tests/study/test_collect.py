"""Verdicts: ours beside the paper's."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from scratchdet_caffe.experiment.paper_files import load_table
from scratchdet_caffe.experiment.paper_tables import Quoted
from scratchdet_caffe.study.cells import Cell, Wish
from scratchdet_caffe.study.collect import verdict
from scratchdet_caffe.study.record import DIVERGED, DONE, FAILED, Record

TABLE = load_table("table1")
ROW = TABLE.row("scratch-both-high")


def ended(*maps: float | None) -> list[tuple[Cell, Record]]:
    """A cell for each number; None for one that diverged."""
    return [
        (
            Cell(ROW, ROW.words["full"], seed, job=None),  # type: ignore[arg-type]
            Record(state=DIVERGED if value is None else DONE, measures={"map": value}),
        )
        for seed, value in enumerate(maps)
    ]


@pytest.mark.parametrize(
    ("paper", "ours", "said"),
    [
        (78.7, (78.3,), "reproduced"),
        (78.7, (78.2, 79.0), "reproduced"),
        (78.7, (77.8,), "close"),
        (78.7, (77.0,), "not reproduced"),
        (78.7, (None,), "not reproduced: 1 of 1 diverged"),
        (78.7, (78.7, None), "not reproduced: 1 of 2 diverged"),
        (math.nan, (None, None), "reproduced"),
        (math.nan, (30.0, None), "not reproduced: it trained"),
        (78.7, (), ""),
    ],
)
def test_verdict(paper: float, ours: tuple[float | None, ...], said: str) -> None:
    row = replace(ROW, paper={"map": Quoted(paper, "read", "")})
    assert verdict(Wish(TABLE, "full"), row, ended(*ours)) == said


@pytest.mark.parametrize(
    "wish",
    [
        Wish(TABLE, "mini"),
        Wish(TABLE, "full", max_iter=2),
        Wish(TABLE, "full", settings=("solver.base_lr=1",)),
    ],
)
def test_what_does_not_compare_gets_no_verdict(wish: Wish) -> None:
    assert verdict(wish, ROW, ended(78.7)) == ""


def test_a_remembered_number_decides_nothing() -> None:
    row = replace(ROW, paper={"map": Quoted(78.7, "remembered", "")})
    assert verdict(Wish(TABLE, "full"), row, ended(78.7)).startswith("none: ")


@pytest.mark.parametrize(("state", "over"), [(DONE, True), (DIVERGED, True), (FAILED, False)])
def test_only_failures_are_run_again(state: str, over: bool) -> None:
    record: Any = Record(state=state)
    assert record.ended is over
