"""scripts/train.sh: what it starts in which order, and what signals and failures do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "train.sh"

# Writes down how it was called; each part of the package does what the script relies on.
PYTHON = r"""#!/bin/bash
[ "$1" != -c ] || exit 0
echo "$@" >> calls
case "$*" in
    *.prepare*)
        while [ "$1" != --out ]; do shift; done
        mkdir -p "$2" && touch "$2/labelmap.prototxt" "$2/test_name_size.txt" ;;
    *.gen*)
        [ ! -f no_gen ] || { echo "gen: error: no such arch" >&2; exit 2; }
        mkdir -p runs/job && echo "table" && echo "wrote runs/job; train with its train.sh" ;;
    *.train*)
        [ -f slow ] || exit 0
        trap 'echo saved >> calls; exit 143' TERM
        trap 'echo hangup >> calls' HUP
        trap 'echo interrupted >> calls; exit 130' INT
        touch started
        for _ in {1..100}; do sleep 0.05; done ;;
    *.ready*) [ ! -f state ] || cat state ;;
esac
"""
# The command of SSD-Caffe: SIGINT is a snapshot and the end, of SIGTERM it dies.
CAFFE = r"""#!/bin/bash
echo "caffe $*" >> calls
echo "I1125 caffe says"
[ -f slow ] || exit 0
trap 'echo snapshot >> calls; exit 0' INT
touch started
for _ in {1..100}; do sleep 0.05; done
"""
GPUS = "#!/bin/sh\nprintf '0\\n1\\n2\\n'\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name, text in (("python", PYTHON), ("caffe", CAFFE)):
        (bin_ / name).write_text(text)
        (bin_ / name).chmod(0o755)
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    path = f"{folder / 'bin'}:/usr/bin:/bin"
    return {"PATH": path, "PYTHON": str(folder / "bin" / "python"), "TMPDIR": str(folder)}


def train_sh(folder: Path, *arguments: str, status: int = 0) -> str:
    done = subprocess.run(
        [SCRIPT, "--arch", "tiny", *arguments],
        cwd=folder, env=environment(folder), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines() if (folder / "calls").exists() else []


def with_gpus(folder: Path) -> None:
    (folder / "bin" / "nvidia-smi").write_text(GPUS)
    (folder / "bin" / "nvidia-smi").chmod(0o755)


def test_data_net_training_scores_report(folder: Path) -> None:
    said = train_sh(
        folder, "--dataset", "shapes", "--recipe=mini", "--set", "solver.base_lr=0.1",
        "--min-map", "0.5",
    )  # fmt: skip
    assert "table" in said
    assert calls(folder) == [
        "-m scratchdet_caffe.prepare shapes --out data/shapes",
        "-m scratchdet_caffe.gen --dataset data/shapes --out runs --arch tiny --recipe mini "
        "--set solver.base_lr=0.1",
        "-m scratchdet_caffe.train --solver runs/job/solver.prototxt --engine torch --device cpu "
        "--resume",
        "-m scratchdet_caffe.evaluate runs/job --engine torch --device cpu --min-map 0.5",
        "-m scratchdet_caffe.report runs/job",
    ]
    (folder / "calls").unlink()
    train_sh(folder, "--dataset", "shapes")
    assert "prepare" not in calls(folder)[0]  # it is there


def test_voc_is_converted_where_the_devkit_lies(folder: Path) -> None:
    said = train_sh(folder, "--dataset", "voc0712", status=2)
    assert "there is neither data/voc0712, as `prepare voc` makes it, nor data/VOCdevkit" in said
    (folder / "volume" / "VOCdevkit").mkdir(parents=True)
    train_sh(folder, "--dataset", "voc0712", "--data", "volume", "--runs", "out")
    assert calls(folder)[0] == (
        "-m scratchdet_caffe.prepare voc --root volume/VOCdevkit --split 07+12 --out volume/voc0712"
    )
    assert "--out out" in calls(folder)[1]


def test_a_failure_ends_the_script_with_its_status(folder: Path) -> None:
    (folder / "no_gen").touch()
    said = train_sh(folder, "--dataset", "shapes", status=2)
    assert said.rstrip().endswith("gen: error: no such arch")
    assert len(calls(folder)) == 2
    for arguments in (["--engine", "theano"], ["--processes", "two"], ["--gpus"], []):
        said = train_sh(folder, *arguments, *["--dataset", "shapes"] * bool(arguments), status=2)
        assert said.startswith("train.sh: error: ")


def test_several_gpus_are_torchruns_or_caffes_own(folder: Path) -> None:
    with_gpus(folder)
    train_sh(folder, "--dataset", "shapes")
    assert calls(folder)[2] == (
        "-m torch.distributed.run --standalone --nproc-per-node 3 -m scratchdet_caffe.train "
        "--solver runs/job/solver.prototxt --engine torch --device cuda --resume"
    )
    (folder / "calls").unlink()
    (folder / "state").write_text("runs/job/x_iter_7.solverstate\n")
    said = train_sh(folder, "--dataset", "shapes", "--engine", "caffe", "--gpus", "0,2")
    assert "caffe says" in said
    assert (folder / "runs" / "job" / "train.log").read_text() == "I1125 caffe says\n"
    ready, caffe = calls(folder)[1:3]
    assert ready == "-m scratchdet_caffe.engines.ready runs/job/solver.prototxt"
    assert caffe == (
        "caffe train -solver runs/job/solver.prototxt -gpu 0,2 "
        "-snapshot runs/job/x_iter_7.solverstate"
    )
    train_sh(folder, "--dataset", "shapes", "--engine", "caffe", "--gpus", "2")
    assert "-m scratchdet_caffe.train" in calls(folder)[-3]  # one GPU: through pycaffe


@pytest.mark.parametrize(
    ("number", "engine", "expected"),
    [
        (signal.SIGTERM, "torch", "saved"),
        (signal.SIGINT, "torch", "interrupted"),
        (signal.SIGTERM, "caffe", "snapshot"),
    ],
)
def test_a_signal_reaches_the_training_and_the_script_waits(
    folder: Path, number: signal.Signals, engine: str, expected: str
) -> None:
    (folder / "slow").touch()
    with_gpus(folder)
    gpus = "0,1" if engine == "caffe" else "none"
    process = subprocess.Popen(
        [SCRIPT, "--arch", "tiny", "--dataset", "shapes", "--engine", engine, "--gpus", gpus],
        cwd=folder, env=environment(folder), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(folder / "started")
    process.send_signal(number)
    assert process.wait(20) == 128 + number
    assert calls(folder)[-1] == expected  # and no score, no report


def test_a_hangup_goes_to_the_training_which_goes_on(folder: Path) -> None:
    (folder / "slow").touch()
    process = subprocess.Popen(
        [SCRIPT, "--arch", "tiny", "--dataset", "shapes"],
        cwd=folder, env=environment(folder), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(folder / "started")
    process.send_signal(signal.SIGHUP)
    (folder / "slow").unlink()
    assert process.wait(30) == 0
    assert "hangup" in calls(folder)
    assert calls(folder)[-1].endswith("report runs/job")


def wait_for(file: Path) -> None:
    for _ in range(400):
        if file.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{file} did not appear")


@pytest.mark.slow
def test_for_real_from_nothing_to_a_report_and_on_after_a_stop(tmp_path: Path) -> None:
    command = [
        str(SCRIPT), "--arch", "root_resnet18", "--dataset", "shapes", "--recipe", "mini",
        "--size", "48", "--batch", "4", "--set", "backbone.width=0.0625",
        "--set", "solver.max_iter=300", "--set", "solver.test_interval=300",
    ]  # fmt: skip
    env = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True
    ) as first:
        assert first.stderr is not None
        for line in first.stderr:
            if "Iteration 20, loss" in line:
                first.send_signal(signal.SIGTERM)
                break
        first.stderr.read()
        assert first.wait() == 128 + signal.SIGTERM
    job = tmp_path / "runs" / "root_resnet18" / "shapes" / "mini_48"
    assert len(list(job.glob("*.solverstate"))) == 1
    subprocess.run(command, cwd=tmp_path, env=env, check=True)
    assert "Resuming from" in (job / "train.log").read_text()
    assert (job / "results" / "metrics.json").is_file()
    assert (job / "report.html").is_file()
