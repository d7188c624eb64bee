"""Training under torchrun as a user runs it: processes that are killed, stopped, or fail."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_binary
from scratchdet_caffe.snapshots import find_snapshots

NET = """
name: "small"
layer { name: "rows" type: "HDF5Data" top: "data" top: "label"
  hdf5_data_param { source: "list.txt" batch_size: 4 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 32 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "ip" top: "ip" }
layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip" }
layer { name: "scores" type: "InnerProduct" bottom: "ip" top: "scores"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "label" top: "loss" }
"""
ITERATIONS = 400
LAUNCH = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
TRAIN = ("-m", "scratchdet_caffe.train", "--solver=solver.prototxt")


@pytest.fixture
def job(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        file["data"] = random.normal(size=(100, 16)).astype(np.float32)
        file["label"] = random.integers(0, 3, 100).astype(np.float32)
    (tmp_path / "list.txt").write_text("rows.h5\n")
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 snapshot: 100 '
        f'max_iter: {ITERATIONS} display: 10 snapshot_prefix: "snap" random_seed: 1'
    )
    return tmp_path


def torchrun(job: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start two processes; what they say goes to the file ``said``."""
    with open(job / "said", "w") as said:
        return subprocess.Popen(
            [*LAUNCH, "--max-restarts=2", *TRAIN, *arguments],
            cwd=job, stdout=said, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
        )  # fmt: skip


def wait_for(job: Path, text: str) -> None:
    for _ in range(600):
        log = job / "train.log"
        if log.exists() and text in log.read_text():
            return
        time.sleep(0.1)
    raise AssertionError(f"the log never said {text}")


def workers(launcher: subprocess.Popen[str]) -> dict[int, int]:
    """The process of each rank."""
    listed = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    found = {}
    for pid in listed:
        environment = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
        if rank := [word for word in environment if word.startswith("RANK=")]:
            found[int(rank[0].removeprefix("RANK="))] = int(pid)
    return found


def is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def all_end(pids: list[int], seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(is_running, pids))


def test_a_run_that_loses_a_process_starts_again_from_its_snapshot(job: Path) -> None:
    launcher = torchrun(job)
    wait_for(job, "Iteration 150, lr")
    before = workers(launcher)
    assert sorted(before) == [0, 1]
    os.kill(before[1], signal.SIGKILL)
    assert launcher.wait(120) == 0, (job / "said").read_text()
    log = (job / "train.log").read_text()
    assert "Resuming from snap_iter_100.solverstate" in log
    assert log.count("Solving small") == 2
    assert log.count("Optimization Done.") == 1
    assert [read_binary(f, pb.SolverState).iter for f in find_snapshots(str(job / "snap"))] == [
        100, 200, 300, 400,
    ]  # fmt: skip
    assert all_end(list(before.values()))
    # The same command on one process reads what two have written.
    done = subprocess.run(
        [sys.executable, *TRAIN, "--snapshot=snap_iter_300.solverstate"],
        cwd=job, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "now in earlier_1" in done.stderr  # the iteration 400 that two processes made
    assert "Iteration 390, loss" in done.stderr


def test_one_process_that_fails_ends_all_with_one_sentence(job: Path) -> None:
    """The second process does not find the net, as on a machine that lacks the folder."""
    solver = (job / "solver.prototxt").read_text()
    (job / "solver.prototxt").write_text(solver.replace("net.prototxt", "/proc/self/fd/77"))
    (job / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if os.environ.get('RANK') == '0' and 'scratchdet_caffe.train' in sys.orig_argv:\n"
        "    os.dup2(os.open('net.prototxt', os.O_RDONLY), 77)\n"
    )
    launcher = subprocess.run(
        [*LAUNCH, *TRAIN],
        cwd=job, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(job)},
    )  # fmt: skip
    assert launcher.returncode != 0
    ours = [line for line in launcher.stderr.splitlines() if line.startswith("train: ")]
    assert len(ours) == 1, launcher.stderr
    assert re.match(r"train: error: process 1: solver: net names '/proc/self/fd/77'", ours[0])
    assert not (job / "train.log").exists()


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["launcher", "launcher killed", "second"])
def test_a_signal_to_stop_stops_all_with_a_snapshot(job: Path, victim: str) -> None:
    solver = (job / "solver.prototxt").read_text()
    (job / "solver.prototxt").write_text(solver.replace("max_iter: 400", "max_iter: 1000000"))
    launcher = torchrun(job, "--resume")
    wait_for(job, "Iteration 150, lr")
    pids = workers(launcher)
    if victim == "launcher":
        launcher.terminate()
    elif victim == "launcher killed":
        launcher.kill()
    else:
        os.kill(pids[1], signal.SIGTERM)
    wait_for(job, "Optimization stopped early.")
    assert all_end(list(pids.values()))
    if victim == "second":  # for torchrun this is a failure: it starts the processes again
        wait_for(job, "Resuming from")
        launcher.terminate()
    launcher.wait(60)
    newest = find_snapshots(str(job / "snap"))[-1]
    assert read_binary(newest, pb.SolverState).iter >= 150
