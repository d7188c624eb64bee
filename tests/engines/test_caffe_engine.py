"""The commands with ``--engine caffe``, on a module that offers pycaffe's surface and no more."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scratchdet_caffe.caffeproto import array_of, read_model, read_state
from scratchdet_caffe.report.log import read_log

STANDIN = Path(__file__).with_name("standin")
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(STANDIN),
    "GLOG_minloglevel": "2",  # as many set it; the run's log must hold Caffe's lines all the same
}


def command(module: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", f"scratchdet_caffe.{module}", *map(str, arguments)]


def run(
    module: str, *arguments: object, folder: Path, status: int = 0, **environment: str
) -> tuple[str, str]:
    done = subprocess.run(
        command(module, *arguments),
        cwd=folder,
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("caffe")
    run(
        "prepare", "shapes", "--out", "data/shapes", "--train", 16, "--test", 8, "--size", 48,
        folder=folder,
    )  # fmt: skip
    return folder


def make_job(folder: Path, name: str, *settings: str) -> Path:
    given = ("backbone.width=0.0625", "solver.random_seed=3", *settings)
    run(
        "gen", "--arch", "root_resnet18", "--dataset", "data/shapes", "--recipe", "mini",
        "--size", 48, "--batch", 4, "--out", "runs", "--job", name,
        "--set", "solver.max_iter=8", "--set", "solver.snapshot=4",
        "--set", "solver.test_interval=4", "--set", "solver.display=1",
        *[word for setting in given for word in ("--set", setting)],
        folder=folder,
    )  # fmt: skip
    return Path("runs/root_resnet18/shapes") / name


def train(folder: Path, job: Path, *more: str, **kwargs: object) -> str:
    solver = job / "solver.prototxt"
    return run("train", "--engine", "caffe", "--solver", solver, *more, folder=folder, **kwargs)[1]


@pytest.fixture(scope="module")
def trained(folder: Path) -> tuple[Path, str]:
    """A finished run, and what it said on stderr."""
    job = make_job(folder, "trained")
    return job, train(folder, job)


def weights(file: Path) -> dict[str, list[np.ndarray]]:
    return {layer.name: list(map(array_of, layer.blobs)) for layer in read_model(file).layer}


def test_the_log_holds_what_the_library_writes_past_python(
    folder: Path, trained: tuple[Path, str]
) -> None:
    job, said = trained
    text = (folder / job / "train.log").read_text()
    assert f"Engine: caffe 1.0.0-rc3 at {STANDIN / 'caffe' / '__init__.py'}: SSD layers" in text
    assert "not RefineDet's" in text
    for line in ("Solving ", "Iteration 7, loss = ", "Iteration 7, lr = ", "Optimization Done."):
        assert text.count(line) == 1, line
    assert text.index("Engine:") < text.index("Starting Optimization") < text.index("Iteration 0,")
    assert sorted(said.splitlines()) == sorted(text.splitlines())
    log = read_log(folder / job / "train.log")
    assert log.loss.iteration.tolist() == list(range(9))
    assert log.test[0]["detection_eval"].iteration.tolist() == [4, 8]
    assert log.done


def test_the_same_numbers_as_the_embedded_engine(folder: Path) -> None:
    # Before a snapshot the driver looks at the weights through pycaffe. That lays those of the
    # module which stands in for SSD-Caffe out anew, and what follows differs in rounding: so,
    # one snapshot, at the end.
    jobs = [make_job(folder, name, "solver.snapshot=8") for name in ("embedded", "standin")]
    run("train", "--solver", jobs[0] / "solver.prototxt", folder=folder)
    train(folder, jobs[1])
    (ours,) = (folder / jobs[0]).glob("*_iter_8.caffemodel")
    (theirs,) = (folder / jobs[1]).glob("*_iter_8.caffemodel")
    ours, theirs = weights(ours), weights(theirs)
    assert ours.keys() == theirs.keys()
    for layer, blobs in ours.items():
        for blob, other in zip(blobs, theirs[layer]):
            np.testing.assert_array_equal(blob, other, err_msg=layer)


def test_evaluate_scores_with_it_and_leaves_its_chatter_out(
    folder: Path, trained: tuple[Path, str]
) -> None:
    job, _ = trained
    out, err = run("evaluate", job, "--engine", "caffe", folder=folder)
    assert "mean" in out
    assert "much to say" not in err
    metrics = json.loads((folder / job / "results" / "metrics.json").read_text())
    logged = read_log(folder / job / "train.log").test[0]["detection_eval"].value[-1]
    assert metrics["engine"] == "caffe"
    assert metrics["map"]["detection_eval 11point"] == pytest.approx(logged, rel=1e-5)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_signal_writes_a_snapshot_and_the_same_command_goes_on(
    folder: Path, number: signal.Signals
) -> None:
    job = make_job(folder, number.name, "solver.max_iter=200", "solver.snapshot=1000")
    process = subprocess.Popen(
        command("train", "--engine", "caffe", "--solver", job / "solver.prototxt", "--resume"),
        cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "Iteration 5, loss" in line:
            process.send_signal(number)
            break
    rest = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 128 + number
    assert f"train: {number.name}: writing a snapshot and stopping" in rest
    (state,) = (folder / job).glob("*.solverstate")
    assert not list((folder / job).glob("*.state.json"))
    reached = read_state(state).iter
    assert 5 <= reached < 200
    text = (folder / job / "solver.prototxt").read_text()
    (folder / job / "solver.prototxt").write_text(
        text.replace("max_iter: 200", f"max_iter: {reached + 2}")
    )
    said = train(folder, job, "--resume")
    assert f"Resuming from {state.relative_to(folder)}" in said
    assert (folder / job / "train.log").read_text().count("Optimization Done.") == 1


def test_a_loss_that_is_lost_stops_the_run(folder: Path) -> None:
    job = make_job(folder, "diverged", "solver.base_lr=1e30")
    said = train(folder, job, status=3)
    assert "the run diverged" in said
    assert ": diverged" in (folder / job / "train.log").read_text()


def test_a_failed_check_is_in_the_log_and_told_in_a_sentence(
    folder: Path, trained: tuple[Path, str]
) -> None:
    """The library ends the process: nothing of Python is left to say why."""
    job = make_job(folder, "check", "backbone.width=0.125")
    (narrow,) = (folder / trained[0]).glob("*_iter_8.caffemodel")
    said = train(folder, job, "--weights", str(narrow), status=-signal.SIGABRT)
    assert re.search(r"\nthe engine ended the process: Check failed: .* has shape ", said)


def test_on_a_terminal_there_is_a_bar_and_the_log_above_it(folder: Path) -> None:
    job = make_job(folder, "terminal", "solver.test_interval=3")
    screen, theirs = pty.openpty()
    process = subprocess.Popen(
        command("train", "--engine", "caffe", "--solver", job / "solver.prototxt"),
        cwd=folder, env={**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "200"}, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while more := os.read(screen, 65536):
            shown += more
    except OSError:  # how a pseudo terminal says that nobody writes any more
        pass
    os.close(screen)
    assert process.wait() == 0
    text = shown.decode()
    assert "iteration 8/8" in text
    assert len(re.findall(r"\] Iteration 7, loss", text)) == 1
    assert text.index("] Iteration 7, loss") < text.index("] Optimization Done.")
    assert "detection_eval" in (folder / job / "train.log").read_text()


def test_what_the_caffe_lacks_is_said_before_it_can_end_the_process(folder: Path) -> None:
    job = make_job(folder, "lacking")
    said = train(folder, job, status=2, STANDIN_WITHOUT="MultiBoxLoss,PriorBox")
    assert "caffe 1.0.0-rc3 at " in said
    assert "has no layer MultiBoxLoss, PriorBox: it is not SSD-Caffe" in said
    said = train(folder, job, status=2, STANDIN_WITHOUT="Eltwise")
    assert re.search(r"train\.prototxt: layer '\w+' is of type Eltwise, which caffe 1.0", said)
    (folder / "empty" / "caffe").mkdir(parents=True)
    (folder / "empty" / "caffe" / "__init__.py").write_text("")
    said = train(folder, job, status=2, PYTHONPATH=str(folder / "empty"))
    assert "it is no pycaffe" in said
    assert not (folder / job / "train.log").exists()


def test_a_refinedet_net_needs_the_fork(folder: Path) -> None:
    job = make_job(folder, "refinedet", "solver.max_iter=1")
    file = folder / job / "train.prototxt"
    text = re.sub(r"(multibox_loss_param \{)", r"\1 objectness_score: 0.01", file.read_text())
    file.write_text(text)
    said = train(folder, job, status=2)
    assert 'no field named "objectness_score"' in said
    assert "RefineDet's nets need a build of sfzhang15/RefineDet" in said
    assert ", RefineDet's too" in train(folder, job, STANDIN="refinedet")
