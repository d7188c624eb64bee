"""The train command as a user runs it: a process, its log, its snapshots, its death."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from scratchdet_caffe.caffeproto import array_of, read_binary
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.snapshots import check_state, model_of

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def command(module: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", f"scratchdet_caffe.{module}", *map(str, arguments)]


def run(module: str, *arguments: object, folder: Path, status: int = 0) -> str:
    done = subprocess.run(
        command(module, *arguments), cwd=folder, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    run(
        "prepare", "shapes", "--out", "data/shapes", "--train", 40, "--test", 8, "--size", 48,
        folder=folder,
    )  # fmt: skip
    return folder


def make_job(folder: Path, name: str, *settings: str) -> Path:
    flags = [flag for setting in settings for flag in ("--set", setting)]
    run(
        "gen", "--arch", "root_resnet18", "--dataset", "data/shapes", "--recipe", "mini",
        "--size", 48, "--batch", 4, "--out", "runs", "--job", name,
        "--set", "solver.max_iter=60", "--set", "solver.stepvalue=[30, 50]",
        "--set", "solver.snapshot=20", "--set", "solver.test_interval=60",
        "--set", "solver.display=1", "--set", "backbone.width=0.0625", *flags,
        folder=folder,
    )  # fmt: skip
    return Path("runs/root_resnet18/shapes") / name


def weights(folder: Path, job: Path, iteration: int) -> dict[str, np.ndarray]:
    (path,) = (folder / job).glob(f"*_iter_{iteration}.caffemodel")
    net = read_binary(path, pb.NetParameter)
    return {
        f"{layer.name}/{i}": array_of(blob)
        for layer in net.layer
        for i, blob in enumerate(layer.blobs)
    }


def train_until(folder: Path, job: Path, iteration: int, number: signal.Signals) -> int:
    """Start training and send the signal when the log shows ``iteration``."""
    process = subprocess.Popen(
        command("train", "--solver", job / "solver.prototxt", "--resume"),
        cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if f"Iteration {iteration}, loss" in line:
            process.send_signal(number)
            break
    process.stderr.read()
    process.stderr.close()
    return process.wait(60)


@pytest.fixture(scope="module")
def unbroken(dataset: Path) -> tuple[Path, Path]:
    job = make_job(dataset, "unbroken", "solver.random_seed=7")
    run("train", "--solver", job / "solver.prototxt", folder=dataset)
    return dataset, job


def test_killed_and_resumed_equals_unbroken_bit_for_bit(unbroken: tuple[Path, Path]) -> None:
    folder, whole = unbroken
    job = make_job(folder, "killed", "solver.random_seed=7")
    assert train_until(folder, job, 45, signal.SIGKILL) == -signal.SIGKILL
    assert not list((folder / job).glob("*_iter_60.*"))
    said = run("train", "--solver", job / "solver.prototxt", "--resume", folder=folder)
    assert "Resuming from" in said
    assert "_iter_40.solverstate" in said
    assert "Iteration 39, loss" not in said
    ours, theirs = weights(folder, job, 60), weights(folder, whole, 60)
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def test_a_run_without_a_seed_resumes_with_the_one_it_drew(dataset: Path) -> None:
    """The seed and the reading position are in the sidecar: same batches after a resume."""
    job = make_job(dataset, "seedless")
    assert train_until(dataset, job, 25, signal.SIGKILL) == -signal.SIGKILL
    run("train", "--solver", job / "solver.prototxt", "--resume", folder=dataset)
    first = weights(dataset, job, 60)
    for file in (dataset / job).glob("*_iter_[46]0.*"):
        file.unlink()
    run("train", "--solver", job / "solver.prototxt", "--resume", folder=dataset)
    for name, values in weights(dataset, job, 60).items():
        np.testing.assert_array_equal(values, first[name], err_msg=name)


def test_sigterm_writes_a_snapshot_and_says_so_by_its_status(dataset: Path) -> None:
    job = make_job(dataset, "terminated")
    assert train_until(dataset, job, 7, signal.SIGTERM) == 128 + signal.SIGTERM
    (state,) = (dataset / job).glob("*.solverstate")
    iteration = int(re.search(r"_iter_(\d+)\.", state.name)[1])
    assert 7 <= iteration < 20
    assert read_binary(state, pb.SolverState).iter == iteration
    assert "Optimization stopped early." in (dataset / job / "train.log").read_text()


def test_the_log_has_caffes_lines(unbroken: tuple[Path, Path]) -> None:
    folder, job = unbroken
    log = (folder / job / "train.log").read_text()
    head = r"I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ \w+\.py:\d+\] "
    for line in (
        r"Solving \w+",
        r"Learning Rate Policy: multistep",
        r"Iteration 10, loss = [\d.]+",
        r"    Train net output #0: mbox_loss = [\d.]+ \(\* 1 = [\d.]+ loss\)",
        r"Iteration 10, lr = [\d.e-]+",
        r"MultiStep Status: Iteration 30, step = 1",
        r"Snapshotting to binary proto file .*_iter_20\.caffemodel",
        r"Snapshotting solver state to binary proto file .*_iter_20\.solverstate",
        r"Iteration 60, Testing net \(#0\)",
        r"    Test net output #0: detection_eval = [\d.e-]+",
        r"Optimization Done\.",
    ):
        assert re.search(f"^{head}{line}$", log, re.M), line


def test_the_mean_average_precision_of_evaluate_is_that_of_the_log(
    unbroken: tuple[Path, Path],
) -> None:
    folder, job = unbroken
    run("evaluate", job, folder=folder)
    metrics = json.loads((folder / job / "results" / "metrics.json").read_text())
    logged = re.findall(r"detection_eval = ([\d.e+-]+)", (folder / job / "train.log").read_text())
    assert format(metrics["map"]["detection_eval 11point"], ".6g") == logged[-1]


def test_a_cut_snapshot_is_passed_over_and_refused_by_name(unbroken: tuple[Path, Path]) -> None:
    folder, _ = unbroken
    job = make_job(folder, "cut", "solver.max_iter=4", "solver.snapshot=2")
    run("train", "--solver", job / "solver.prototxt", folder=folder)
    newest = next((folder / job).glob("*_iter_4.solverstate"))
    newest.write_bytes(newest.read_bytes()[:-100])
    solver = job / "solver.prototxt"
    log = (folder / job / "train.log").read_text()
    said = run("train", "--solver", solver, "--snapshot", newest, folder=folder, status=2)
    assert "cut short" in said
    assert str(newest) in said
    assert (folder / job / "train.log").read_text() == log  # a start that fails spoils nothing
    said = run("train", "--solver", solver, "--resume", folder=folder)
    assert "passed over" in said
    assert "_iter_2.solverstate" in said


def test_weights_of_another_net_are_refused_with_both_shapes(unbroken: tuple[Path, Path]) -> None:
    folder, whole = unbroken
    job = make_job(folder, "wider", "backbone.width=0.125")
    (model,) = (folder / whole).glob("*_iter_60.caffemodel")
    solver = job / "solver.prototxt"
    said = run("train", "--solver", solver, "--weights", model, folder=folder, status=2)
    assert re.search(r"blob 0 of layer '\w+' has shape \(\d+, .*\) there, but \(\d+, ", said)


def test_mixed_precision_trains_and_is_the_embedded_engines(
    dataset: Path, unbroken: tuple[Path, Path]
) -> None:
    job = make_job(dataset, "half", "solver.max_iter=2", "solver.random_seed=7")
    flags = ("--solver", job / "solver.prototxt", "--precision", "bf16")
    said = run("train", *flags, folder=dataset)
    half = float(re.findall(r"Iteration 0, loss = (\S+)", said)[0])
    full = (unbroken[0] / unbroken[1] / "train.log").read_text()
    assert half == pytest.approx(float(re.findall(r"Iteration 0, loss = (\S+)", full)[0]), rel=0.02)
    assert {array.dtype for array in weights(dataset, job, 2).values()} == {np.dtype("float32")}
    said = run("train", *flags, "--engine", "caffe", folder=dataset, status=2)
    assert "--precision is the embedded engine's" in said


def test_a_run_that_diverges_stops_and_says_so(dataset: Path) -> None:
    job = make_job(dataset, "diverged", "solver.base_lr=1e9")
    started = time.monotonic()
    said = run("train", "--solver", job / "solver.prototxt", folder=dataset, status=3)
    assert "diverged" in said
    assert not list((dataset / job).glob("*.caffemodel"))
    assert time.monotonic() - started < 60


def test_what_a_spoilt_update_left_is_not_resumed(dataset: Path) -> None:
    """The update at 1 ruins the weights, the snapshot holds them, the next loss tells."""
    job = make_job(dataset, "spoilt", "solver.base_lr=1e30", "solver.snapshot=1")
    said = run("train", "--solver", job / "solver.prototxt", folder=dataset, status=3)
    assert "diverged" in said
    assert not list((dataset / job).glob("*_iter_*.solverstate"))
    assert "No snapshot" in said or list((dataset / job).glob("*.diverged"))


def test_a_run_from_the_start_moves_the_old_one_aside(dataset: Path) -> None:
    job = make_job(dataset, "again", "solver.max_iter=4", "solver.snapshot=2")
    solver = job / "solver.prototxt"
    run("train", "--solver", solver, folder=dataset)
    short = ("solver.max_iter=2", "solver.snapshot=2")
    assert make_job(dataset, "again", *short) == job
    said = run("train", "--solver", solver, folder=dataset)
    assert "earlier_1" in said
    assert {p.name[-18:] for p in (dataset / job).glob("*.caffemodel")} == {"_iter_2.caffemodel"}
    earlier = dataset / job / "earlier_1"
    assert len(list(earlier.glob("*.solverstate"))) == 2
    assert len(list(earlier.glob("*.state.json"))) == 2
    assert "Iteration 3, loss" in (earlier / "train.log").read_text()
    said = run("train", "--solver", solver, "--resume", folder=dataset)
    assert "at iteration 2 of 2 already" in said


def test_a_copied_job_takes_its_own_weights(dataset: Path) -> None:
    job = make_job(dataset, "source", "solver.max_iter=4", "solver.snapshot=2")
    run("train", "--solver", job / "solver.prototxt", folder=dataset)
    copy = dataset / "copy"
    shutil.copytree(dataset / job, copy)
    mine = weights(dataset, Path("copy"), 2)
    run("train", "--solver", job / "solver.prototxt", folder=dataset)  # another seed
    (state,) = copy.glob("*_iter_2.solverstate")
    assert model_of(check_state(state), state).parent == copy
    assert any((mine[k] != v).any() for k, v in weights(dataset, job, 2).items())


@pytest.mark.parametrize("what", [".solverstate", ".caffemodel", ".state.json"])
def test_an_empty_file_of_a_snapshot_is_passed_over(dataset: Path, what: str) -> None:
    job = make_job(dataset, f"empty{what[1]}{what[7]}", "solver.max_iter=4", "solver.snapshot=2")
    run("train", "--solver", job / "solver.prototxt", folder=dataset)
    (file,) = (dataset / job).glob(f"*_iter_4{what}")
    file.write_bytes(b"")
    said = run("train", "--solver", job / "solver.prototxt", "--resume", folder=dataset)
    assert "passed over" in said
    assert "_iter_2.solverstate" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--solver", "none.prototxt"], "none.prototxt: no such solver"),
        (["--solver", "SOLVER", "--snapshot", "x", "--weights", "y"], "give only one of"),
        (["--solver", "SOLVER", "--snapshot", "x.solverstate"], "no such snapshot"),
        (["--solver", "SOLVER", "--weights", "x.caffemodel"], "x.caffemodel: cannot read"),
        (["--solver", "SOLVER", "--weights", "x.solverstate"], "goes to --snapshot"),
        (["--solver", "SOLVER", "--weights", "x,"], "names an empty file"),
        (["--solver", "SOLVER", "--threads", "-1"], "--threads must be at least 1"),
        (["--solver", "SOLVER", "--device", "cuda"], "no CUDA device"),
        (["--solver", "SOLVER", "--engine", "caffe"], "engine 'caffe' cannot be imported"),
    ],
)
def test_mistakes_are_sentences(
    unbroken: tuple[Path, Path], arguments: list[str], sentence: str
) -> None:
    folder, job = unbroken
    solver = str(job / "solver.prototxt")
    named = [solver if argument == "SOLVER" else argument for argument in arguments]
    assert sentence in run("train", *named, folder=folder, status=2)
