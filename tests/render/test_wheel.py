"""The templates and recipes travel inside the wheel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OFFLINE = (
    "No matching distribution",
    "Could not find a version",
    "Connection",
    "Temporary failure",
)


def pip(*words: str) -> subprocess.CompletedProcess[str]:
    run = [sys.executable, "-m", "pip", *words, "--quiet", "--disable-pip-version-check"]
    return subprocess.run(run, capture_output=True, text=True, check=False)


def test_gen_runs_from_an_installed_wheel(tmp_path: Path) -> None:
    built = pip("wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT))
    if built.returncode and any(word in built.stderr for word in OFFLINE):
        pytest.skip("needs the build backend, which pip cannot fetch here")
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    installed, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    assert pip("install", "--no-deps", "--target", str(installed), str(wheel)).returncode == 0
    script = (
        "import scratchdet_caffe.render as r, scratchdet_caffe.gen as g, sys\n"
        "assert str(r.template_folder()).startswith(sys.argv.pop(1)), r.template_folder()\n"
        "sys.exit(g.main(sys.argv[1:]))"
    )
    words = ["--arch", "root_resnet34", "--dataset", "voc0712", "--recipe", "mini"]
    done = subprocess.run(
        [sys.executable, "-c", script, str(installed), *words],
        cwd=empty,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (empty / "models/root_resnet34/voc0712/mini_160/train.prototxt").is_file()
