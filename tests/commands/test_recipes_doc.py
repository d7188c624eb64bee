"""Every gen command of docs/recipes.md runs as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from scratchdet_caffe import gen

TEXT = (Path(__file__).resolve().parents[2] / "docs/recipes.md").read_text()
BLOCKS = re.findall(r"^```\w*\n(.*?)^```", TEXT, re.M | re.S)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if ".gen " in line]


@pytest.mark.parametrize("line", COMMANDS)
def test_the_command_runs(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "scratchdet_caffe.gen"]
    assert gen.main(words[3:]) == 0


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 2
