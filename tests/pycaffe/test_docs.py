"""The program in docs/pycaffe.md, run as a user would run it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

from scratchdet_caffe.pycaffe import caffe as command

PAGE = Path(__file__).parents[2] / "docs" / "pycaffe.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_the_tutorial_runs_from_top_to_bottom(launch: Callable[..., int]) -> None:
    program = []
    for block in blocks("python"):
        if named := re.match(r"# (\w+\.py)\n", block):
            Path(named[1]).write_text(block)
        else:
            program.append(block)
    assert len(program) > 8
    Path("tutorial.py").write_text("\n".join(program))
    assert launch("tutorial.py") == 0
    (lines,) = blocks("sh")
    for line in lines.splitlines():
        name, *argv = shlex.split(line)
        assert name == "scratchdet-caffe"
        assert command.main(argv) == 0
