"""The mini tables that are committed: their claims are judged again, their Markdown is theirs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scratchdet_caffe.experiment.paper_files import load_table
from scratchdet_caffe.report.study_text import as_csv, as_markdown
from scratchdet_caffe.study.claims import judge
from scratchdet_caffe.study.collect import values_of

FOLDER = Path(__file__).parents[2] / "benchmarks/reproduction"
TABLES = ("table1", "table2")


def committed(name: str) -> Any:
    return json.loads((FOLDER / f"{name}-mini.json").read_text())


@pytest.mark.parametrize("name", TABLES)
def test_the_claims_follow_from_the_numbers(name: str) -> None:
    found, table = committed(name), load_table(name)
    values = {row["name"]: values_of(row) for row in found["rows"]}
    first = next(iter(table.measures))
    assert found["claims"] == [judge(claim, values, first) for claim in table.claims]


@pytest.mark.parametrize("name", TABLES)
def test_the_rows_are_those_of_today_at_todays_rates(name: str) -> None:
    found, table = committed(name), load_table(name)
    assert found["changes"] == []
    assert [row["name"] for row in found["rows"]] == [row.name for row in table.rows]
    for row in found["rows"]:
        assert row["words"]["set"] == list(table.row(row["name"]).words["mini"].set)


@pytest.mark.parametrize("name", TABLES)
def test_the_texts_are_made_of_the_numbers(name: str) -> None:
    found = committed(name)
    assert (FOLDER / f"{name}-mini.md").read_text() == as_markdown(found)
    assert (FOLDER / f"{name}-mini.csv").read_text() == as_csv(found)


def test_the_rows_that_decide_the_claims_have_three_seeds() -> None:
    for name, rows in (
        ("table1", ("scratch-",)), ("table2", ("resnet18", "root_resnet18")),
    ):  # fmt: skip
        for row in committed(name)["rows"]:
            if row["name"].startswith(rows):
                ended = [cell for cell in row["cells"] if cell["state"] in ("done", "diverged")]
                assert len(ended) >= 3, row["name"]
