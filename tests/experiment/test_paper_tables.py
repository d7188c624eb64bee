"""The paper's tables as data: what they say, how sure that is, and that each row can be run."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment import plan
from scratchdet_caffe.experiment.paper_files import load_table, table_names
from scratchdet_caffe.experiment.paper_tables import CERTAINTY

TABLES = [load_table(name) for name in table_names()]

TABLE1 = {
    "scratch-none": (67.6, math.nan, math.nan),
    "scratch-head": (71.0, 75.6, math.nan),
    "scratch-backbone": (72.8, 77.8, 78.0),
    "scratch-both": (71.8, 77.3, 78.7),
    "pretrained-head": (77.1, 76.9, math.nan),
    "pretrained-both": (77.6, 78.2, 75.5),
}


def test_table1_is_the_paper_s() -> None:
    table = load_table("table1")
    assert len(table.rows) == 18
    for name, values in TABLE1.items():
        for column, value in zip(("low", "middle", "high"), values):
            quoted = table.row(f"{name}-{column}").paper["map"]
            assert quoted.value == pytest.approx(value, nan_ok=True)
            assert quoted.certainty == "read"


@pytest.mark.parametrize(
    ("table", "row", "measure", "value", "certainty"),
    [
        ("table2", "resnet18", "map", 73.1, "secondary"),
        ("table2", "root_resnet18", "map", 78.5, "secondary"),
        ("voc", "scratchdet300-07", "map", 80.4, "secondary"),
        ("voc", "scratchdet300-12", "map12", 78.5, "remembered"),
        ("voc", "scratchdet300-07-multi", "map", 84.1, "remembered"),
        ("voc", "refinedet320-12-multi", "map12", 82.7, "secondary"),
        ("coco", "scratchdet300", "apl", 49.0, "secondary"),
        ("coco", "scratchdet300-multi", "ap", 39.1, "remembered"),
        ("coco-voc", "scratchdet300-07", "map", 84.0, "remembered"),
        ("coco-voc", "dsod300-12", "map12", 79.3, "secondary"),
    ],
)
def test_numbers_come_with_their_certainty(
    table: str, row: str, measure: str, value: float, certainty: str
) -> None:
    quoted = load_table(table).row(row).paper[measure]
    assert (quoted.value, quoted.certainty) == (value, certainty)


@pytest.mark.parametrize("table", TABLES, ids=table_names())
def test_every_number_says_where_it_stands_and_how_sure_it_is(table) -> None:  # type: ignore[no-untyped-def]
    for row in table.rows:
        for quoted in row.paper.values():
            assert quoted.certainty in CERTAINTY
            assert len(quoted.source) > 15, row.name  # a sentence, not a key
            assert (quoted.certainty == "remembered") == quoted.source.startswith("remembered")


@pytest.mark.parametrize("table", TABLES, ids=table_names())
def test_every_row_that_can_be_run_makes_a_job(table) -> None:  # type: ignore[no-untyped-def]
    ran = 0
    for row in table.rows:
        if words := row.words.get("full"):
            job = plan(words.arch, words.data, words.recipe, bn=words.bn or None,
                       weights="some.caffemodel", settings=words.set)  # fmt: skip
            assert job.sources
            ran += 1
    assert ran or table.name == "coco-voc"


def test_the_figure_runs_what_table1_runs() -> None:
    figure, table = load_table("figure-gradient"), load_table("table1")
    for scale in ("full", "mini"):
        for ours, theirs in (("none", "scratch-none-low"), ("head-10x", "scratch-head-middle")):
            mine, its = figure.row(ours).words[scale], table.row(theirs).words[scale]
            assert (mine.arch, mine.data, mine.bn) == (its.arch, its.data, its.bn)
            if scale == "full":  # at the scale mini the lowest rate must not diverge
                assert set(its.set) <= set(mine.set)


GOOD = """
title = "T"
about = "a"
certainty = "read"
source = "somewhere"
columns = ["low", "high"]
[measures]
map = "mAP"
[mini]
arch = "root_resnet18"
recipe = "mini"
data = "drawn"
set = ["size=64"]
choice = { low = ["solver.base_lr=0.1"], high = ["solver.base_lr=0.2"] }
[datasets.drawn]
prepare = ["shapes"]
[[row]]
name = "r"
set = ["solver.max_iter=3"]
mini = { set = ["solver.display=1"] }
paper.map = [1, nan]
"""


def test_a_table_of_one_s_own(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(GOOD)
    table = load_table(str(file))
    low, high = table.rows
    assert (low.name, high.name, table.name) == ("r-low", "r-high", "own")
    assert low.words["mini"].set == (
        "size=64", "solver.base_lr=0.1", "solver.max_iter=3", "solver.display=1",
    )  # fmt: skip
    assert "full" not in low.words
    assert table.datasets["drawn"].prepare == ("shapes",)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("paper.map = [1, nan]", "paper.map = 1", "1 values, not 2"),
        ("paper.map = [1, nan]", "paper.mpa = [1, 2]", "did you mean 'map'"),
        ('certainty = "read"', 'certainty = "sure"', "unknown certainty"),
        ('name = "r"', "", "'row.name' is missing"),
        ("[[row]]", "[[row]]\nname = 'r'\npaper.map = [1, 2]\n[[row]]", "two rows are called"),
        ('data = "drawn"', 'data = "dawn"', "did you mean 'drawn'"),
        ("high = [", "hihg = [", "unknown choice"),
        ("[measures]", "[measures", "not TOML"),
        ("[measures]", "[[claim]]\ntext = 'c'\nbetter = ['r-lwo']\n[measures]", "'r-low'"),
        ('source = "somewhere"', "", "'source' is missing"),
    ],
)
def test_faults_of_a_table_are_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    file = tmp_path / "own.toml"
    file.write_text(GOOD.replace(old, new))
    with pytest.raises(UserError, match=said):
        load_table(str(file))


def test_rows_are_chosen_by_pattern() -> None:
    table = load_table("table1")
    assert len(table.runnable("full", ["*-high"])) == 6
    with pytest.raises(UserError, match="did you mean 'scratch-both-low'"):
        table.runnable("full", ["scratch-bot-low"])
    with pytest.raises(UserError, match="only its value"):
        load_table("voc").runnable("full", ["yolov2"])
    with pytest.raises(UserError, match="cannot be run at scale mini"):
        load_table("voc").runnable("mini")
