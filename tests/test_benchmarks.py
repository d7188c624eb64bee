"""The measurements that need reference data say so where it is not at hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_data_without_reference_data_is_a_sentence(tmp_path: Path) -> None:
    run = [sys.executable, str(ROOT / "benchmarks/data.py"), "--shared", str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(run, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"benchmarks/data.py: error: {tmp_path}")
    assert "no pictures to measure with" in done.stderr
    assert len(done.stderr.splitlines()) == 1
