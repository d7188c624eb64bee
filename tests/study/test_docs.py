"""docs/reproduction.md: its commands are the command's, and its tables are those that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from scratchdet_caffe.experiment.paper_files import load_table, table_names
from scratchdet_caffe.experiment.paper_tables import CERTAINTY
from scratchdet_caffe.reproduce import _parser, main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reproduction.md").read_text()
COMMANDS = [
    shlex.split(line)[3:]
    for block in re.findall(r"^```\n(.*?)^```", PAGE, re.M | re.S)
    for line in block.splitlines()
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_names_a_table_and_rows_that_there_are(words: list[str]) -> None:
    args = _parser().parse_args(words)
    if args.table != "list":
        scale = load_table(args.table).scales[args.scale]
        assert args.scale == "full" or scale.about


@pytest.mark.parametrize(
    "words", [words for words in COMMANDS if {"list", "--dry-run"} & set(words)], ids=" ".join
)
def test_commands_that_train_nothing_run(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 0
    assert re.search(r"scratch-both-high(_seed1)? ", capsys.readouterr().out)


def test_every_table_and_every_mark_is_explained() -> None:
    named = re.findall(r"^\| `(.*?)` \|", PAGE, re.M)
    words = {word for cell in named for word in re.split(r"`?, `?", cell)}
    assert set(table_names()) <= words
    assert set(CERTAINTY) <= set(re.findall(r"^\| (\w+) \|", PAGE, re.M))
