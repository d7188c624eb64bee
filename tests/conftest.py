"""What all tests share: the folder of reference data beside the repository."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# How long an example takes says more about what else the machine does than about the code.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.register_profile("fixed", deadline=None, derandomize=True)
hypothesis.settings.load_profile("project")

# What runs in the background or under nohup ignores these, and so would all that tests start.
for number, action in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, action)


@pytest.fixture(scope="session")
def shared() -> Path:
    """``../shared``: golden numbers, facts and small real data sets, read in place."""
    path = Path(__file__).resolve().parents[2] / "shared"
    if not path.is_dir():
        pytest.skip(f"needs ../shared, the folder of reference data; {path} is not there")
    return path


_RANK = """
import os, pickle, sys, warnings
os.environ.update(environment)
os.chdir(folder)
warnings.simplefilter("error")
import faulthandler
faulthandler.dump_traceback_later(100, exit=True)  # a test that hangs says where
import torch
torch.set_num_threads(1)
from scratchdet_caffe.engine import ranks as joining
ranks = joining.join("cpu", batch_norm)
result = None
exec(program)
with open(f"result_{ranks.rank}", "wb") as stream:
    pickle.dump(result, stream)
joining.leave()
"""


@pytest.fixture
def together(tmp_path: Path) -> Callable[..., list[Any]]:
    """Run a program in several processes that have joined; return the ``result`` of each.

    In the program ``ranks`` is this process among the others. Processes are forked from one that
    has imported what takes long.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["scratchdet_caffe.pycaffe", "scratchdet_caffe.data"])

    def run(world: int, program: str, batch_norm: str = "local") -> list[Any]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared_by_all = {
            "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            "GLOO_SOCKET_IFNAME": "lo",
        }  # fmt: skip
        processes = []
        for rank in range(world):
            names = {
                "environment": {**shared_by_all, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                "folder": os.fspath(tmp_path), "program": program, "batch_norm": batch_norm,
            }  # fmt: skip
            processes.append(context.Process(target=exec, args=(_RANK, names)))
            processes[-1].start()
        for process in processes:
            process.join(120)
        assert [process.exitcode for process in processes] == [0] * world
        return [pickle.loads((tmp_path / f"result_{rank}").read_bytes()) for rank in range(world)]

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many layer cases of the reference ran, by layer type.

    It stands here and not with the cases: the process that hands tests out to others reads no
    other conftest.
    """
    counts = {
        outcome: Counter(
            value
            for report in terminalreporter.stats.get(outcome, [])
            for name, value in getattr(report, "user_properties", ())
            if name == "golden layer"
        )
        for outcome in ("passed", "failed", "skipped")
    }
    if not any(counts.values()):
        return
    totals = ", ".join(f"{sum(count.values())} {outcome}" for outcome, count in counts.items())
    terminalreporter.section(f"golden layer cases: {totals}", "-")
    for outcome, count in counts.items():
        if count:
            listed = ", ".join(f"{layer} {number}" for layer, number in sorted(count.items()))
            terminalreporter.write_line(f"{outcome}: {listed}")
