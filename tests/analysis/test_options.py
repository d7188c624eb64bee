"""The tools as a user starts them: at once, without PyTorch, and with a sentence for a mistake."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NET = "models/vgg16/voc0712/ssd_300/train.prototxt"


def run(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "words",
    [
        ("--summary", NET),
        ("--diff", NET, NET),
        ("--lint", "models/vgg16/voc0712/ssd_300"),
        ("--draw", NET, "{tmp}/net.svg"),
    ],
    ids=lambda words: words[0],
)
def test_no_tool_needs_torch(words: tuple[str, ...], tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None  # importing it fails\n"
        "from scratchdet_caffe import gen; sys.exit(gen.main(sys.argv[1:]))"
    )
    done = run(code, *(word.format(tmp=tmp_path) for word in words))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--summary", "none.prototxt"), "none.prototxt: cannot read this prototxt"),
        (("--summary", "models/vgg16/voc0712/ssd_300/solver.prototxt"), "is a solver"),
        (("--summary", NET, "--phase", "TEST"), "layer 'data' makes it with --phase TRAIN"),
        (("--lint", "models"), "no solver.prototxt and no net in this folder"),
        (("--draw", NET, "/proc/none/net.svg"), "cannot write it"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(words: tuple[str, ...], sentence: str) -> None:
    done = run("from scratchdet_caffe import gen, cli; cli.run('gen', gen.main)", *words)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not done.stdout
