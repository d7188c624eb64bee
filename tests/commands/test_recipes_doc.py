"""Every command of docs/recipes.md runs as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from scratchdet_caffe import gen, transfer
from scratchdet_caffe.engine.module import load, save_caffemodel

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/recipes.md").read_text()
BLOCKS = re.findall(r"^```\w*\n(.*?)^```", TEXT, re.M | re.S)
COMMANDS = [shlex.split(line) for block in BLOCKS for line in block.splitlines()]
GEN = [words[3:] for words in COMMANDS if words[2].endswith(".gen")]
TRANSFER = [words[3:] for words in COMMANDS if words[2].endswith(".transfer")]


def test_all_blocks_are_commands() -> None:
    assert all(words[:2] == ["python", "-m"] for words in COMMANDS)
    assert len(GEN) > 8
    assert len(GEN) + len(TRANSFER) == len(COMMANDS)


@pytest.mark.parametrize("words", GEN, ids=" ".join)
def test_gen_runs(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT if "--lint" in words else tmp_path)  # what is linted is published
    assert gen.main(words) == 0


def test_transfer_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With narrow nets: the full one has 28 million weights."""
    monkeypatch.chdir(tmp_path)
    (words,) = TRANSFER
    _, arch, dataset, job = Path(words[words.index("--job") + 1]).parts
    narrow = ["--arch", arch, "--job", job, "--set", "backbone.width=0.0625", "--recipe", "paper"]
    for name in ("coco", dataset):
        assert gen.main([*narrow, "--dataset", name]) == 0
    net = load(f"models/{arch}/coco/{job}/deploy.prototxt")
    save_caffemodel(net, Path(words[words.index("--weights") + 1]))
    transfer.main(words)
    assert Path(words[words.index("--out") + 1]).is_file()
