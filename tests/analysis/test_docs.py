"""docs/nets.md: its commands print what it shows, its rules and its picture are today's."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from scratchdet_caffe import gen
from scratchdet_caffe.analysis.draw import draw
from scratchdet_caffe.analysis.lint import all_rules
from scratchdet_caffe.analysis.read import read_view

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "nets.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.M | re.S)
EXAMPLES = [block for kind, block in BLOCKS if not kind]


def rule_table() -> str:
    """The table of rules as the page has to show it."""
    lines = ["| rule | level | looks for | known from |", "|---|---|---|---|"]
    for rule in sorted(all_rules(), key=lambda rule: (-rule.severity, rule.name)):
        looks_for, known = (text.replace("|", "\\|") for text in (rule.looks_for, rule.known))
        lines.append(f"| `{rule.name}` | {rule.severity} | {looks_for} | {known} |")
    return "\n".join(lines)


def test_the_table_of_rules_is_that_of_the_linter() -> None:
    assert f"\n\n{rule_table()}\n\n" in PAGE


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.split()[4])
def test_examples_print_what_the_page_shows(
    example: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command, *shown = example.splitlines()
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command.removeprefix("$ python -m scratchdet_caffe.gen "))
    gen.main(words)
    printed = capsys.readouterr().out
    at = 0
    for piece in "\n".join(shown).split("\n...\n"):  # an ellipsis stands for other lines
        piece = piece.removeprefix("...\n")
        assert piece in printed[at:], piece
        at = printed.index(piece, at) + len(piece)


def test_the_picture_is_what_is_drawn_now() -> None:
    net = ROOT / "models/vgg16/voc0712/refinedet_320/deploy.prototxt"
    assert draw(read_view(net)) == (ROOT / "docs/images/refinedet_320.svg").read_text()


def test_the_python_program_runs() -> None:
    (program,) = [block for kind, block in BLOCKS if kind == "python"]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, rules, differences = done.stdout.splitlines()
    assert first == "26285486 [5776, 2166, 600, 150, 36, 4]"
    assert "force-color" in rules
    assert int(differences) > 1


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
