"""Every command and the program of docs/evaluation.md run, on a net that nobody trained."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
from pathlib import Path

import pytest

import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe import detect, evaluate, gen, prepare
from scratchdet_caffe.caffeproto import read_solver

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/evaluation.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.M | re.S)
COMMANDS = {"evaluate": evaluate.main, "detect": detect.main}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job with weights, and its set, where the page says they are."""
    folder = tmp_path_factory.mktemp("docs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        prepare.main(["shapes", "--train", "20", "--test", "4", "--size", "64", "--out", "made"])
        Path("path/to").mkdir(parents=True)
        Path("made/VOCdevkit/shapes").rename("path/to/VOC_folder")
        prepare.main(["voc", "--root", "path/to/VOC_folder", "--out", "data/mine"])
        gen.main(
            [
                "--arch",
                "root_resnet18",
                "--dataset",
                "data/mine",
                "--recipe",
                "mini",
                "--job",
                "mini_160",
            ]
        )
        job = Path("models/root_resnet18/mine/mini_160")
        net = caffe.Net(str(job / "test.prototxt"), caffe.TEST)
        for name, blobs in net.params.items():
            if name.endswith("_mbox_conf"):  # untrained, but sure that most is background
                blobs[0].data[...] *= 0.1
                blobs[1].data.reshape(-1, 6)[:, 0] = 5
        net.save("W.caffemodel")
        prefix = read_solver(job / "solver.prototxt").snapshot_prefix
        shutil.copy("W.caffemodel", f"{prefix}_iter_2.caffemodel")
    return folder


def commands() -> list[str]:
    lines = [line for kind, block in BLOCKS if not kind for line in block.splitlines()]
    return [line for line in lines if line.startswith("python -m ")]


def test_the_commands_run_in_the_order_in_which_they_stand(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for line in commands():
        module, *options = shlex.split(line)[2:]
        assert COMMANDS[module.removeprefix("scratchdet_caffe.")](options) == 0, line
    assert len(commands()) >= 10
    results = folder / "models/root_resnet18/mine/mini_160/results"
    for name in re.findall(r"^\| `([\w.]+)`", PAGE, re.M):
        if (results / name).suffix:
            places = (results, results / "evaluation")
            assert any((place / name).exists() for place in places), name


def test_the_program_runs() -> None:
    (program,) = [block for kind, block in BLOCKS if kind == "python"]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(program, {})
    area, ap, medium = (float(word) for word in printed.getvalue().split())
    assert area == 1 and 0.8 < ap < 0.95 and medium == pytest.approx(1)
