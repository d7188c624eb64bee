"""A training that is killed again and again loses nothing; the benchmark does the killing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "survival.py"


@pytest.mark.parametrize(
    ("kills", "iterations"), [(6, 120), pytest.param(200, 2400, marks=pytest.mark.slow)]
)
def test_every_kill_is_survived(kills: int, iterations: int) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), f"--kills={kills}", f"--iterations={iterations}", "--seed=1"],
        capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"| kills | {kills} |" in done.stdout
    (resumed,) = re.findall(r"went on from a snapshot \| (\d+)", done.stdout)
    assert int(resumed) >= kills // 2
    assert "bit for bit" in done.stdout
