"""Every command and program of the README runs, on a small set and for a few iterations."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.M | re.S)
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def commands() -> list[str]:
    lines = [line for kind, block in BLOCKS if not kind for line in block.splitlines()]
    return [line for line in lines if line.startswith("python -m ")]


def run(line: str, folder: Path) -> str:
    words = [sys.executable, *shlex.split(line)[1:]]
    done = subprocess.run(words, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small set in VOC's layout where the README says ``path/to/VOC_folder``."""
    folder = tmp_path_factory.mktemp("readme")
    run("python -m scratchdet_caffe.prepare shapes --train 20 --test 4 --out made", folder)
    (folder / "path" / "to").mkdir(parents=True)
    (folder / "made" / "VOCdevkit" / "shapes").rename(folder / "path" / "to" / "VOC_folder")
    return folder


def test_the_commands_run_in_the_order_in_which_they_stand(folder: Path) -> None:
    ran = 0
    for line in commands():
        # Two iterations of four pictures show that it works; the figures are benchmarks' matter.
        short = re.sub(r"--max-iter \d+", "--max-iter 2 --batch 4", line)
        run(short, folder)
        ran += 1
    assert ran >= 10
    job = folder / "models" / "root_resnet18" / "mine" / "mini_160"
    for made in ("results/metrics.json", "report.html", "train.log"):
        assert (job / made).is_file(), made


def test_the_python_program_runs(folder: Path) -> None:
    (program,) = [block for kind, block in BLOCKS if kind == "python"]
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder, env=ENVIRONMENT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(1, 1, ")


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\S+)", README, re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target
