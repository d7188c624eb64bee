"""Processes of a study stop when asked to, and die with the study."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from scratchdet_caffe.study.processes import Processes, Stopped
from scratchdet_caffe.study.record import held

PARENT = """
import sys
from pathlib import Path
from scratchdet_caffe.study.processes import Processes
from scratchdet_caffe.study.record import held
with held(Path(sys.argv[1])) as lock:
    Processes().run("sleeper", [], Path(sys.argv[1]) / "console.log", lock)
"""
SLEEPER = """
import os, pathlib, time
pathlib.Path("pid").write_text(str(os.getpid()))
time.sleep(60)
"""


@pytest.fixture
def sleeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module ``scratchdet_caffe.sleeper`` that only sleeps, for processes below this one."""
    package = tmp_path / "path" / "scratchdet_caffe"
    package.mkdir(parents=True)
    import scratchdet_caffe

    real = Path(scratchdet_caffe.__file__).parent
    (package / "__init__.py").write_text(f"__path__.append({str(real)!r})\n__version__ = '0'\n")
    (package / "sleeper.py").write_text(SLEEPER)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def wait_for(file: Path) -> int:
    deadline = time.monotonic() + 30
    while not (file.is_file() and file.read_text()):
        assert time.monotonic() < deadline, f"{file} did not come"
        time.sleep(0.02)
    return int(file.read_text())


def test_stop_ends_what_runs_and_lets_nothing_start(sleeper: Path) -> None:
    processes = Processes()
    outcome: list[str] = []

    def run() -> None:
        with held(sleeper / "cell") as lock:
            try:
                processes.run("sleeper", [], sleeper / "console.log", lock)
            except Stopped:
                outcome.append("stopped")

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(sleeper / "pid")
    processes.stop(signal.SIGINT)
    thread.join(30)
    assert outcome == ["stopped"]
    with pytest.raises(Stopped), held(sleeper / "cell") as lock:
        processes.run("sleeper", [], sleeper / "console.log", lock)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_a_killed_study_leaves_no_process_behind(sleeper: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(sleeper / "cell")])
    child = wait_for(sleeper / "pid")
    parent.kill()
    parent.wait()
    with held(sleeper / "cell"):  # the child held it, too, as long as it lived
        pass
    with pytest.raises(ProcessLookupError):
        for _ in range(500):
            os.kill(child, 0)
            time.sleep(0.02)


def test_status_and_time_are_reported(sleeper: Path) -> None:
    with held(sleeper / "cell") as lock:
        ended = Processes().run("cli_that_is_not_there", [], sleeper / "console.log", lock)
    assert ended.status == 1
    assert ended.wall_seconds > 0 and ended.cpu_seconds > 0
    assert "No module named" in (sleeper / "console.log").read_text()
