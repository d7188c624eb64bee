"""The caffe command: train, test, time, device_query, with Caffe's flags and log."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
from pathlib import Path

import pytest
import torch

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.pycaffe import caffe as command

NET = """
name: "tiny"
layer { name: "data" type: "DummyData" top: "x" top: "label" dummy_data_param {
  shape { dim: 4 dim: 6 } shape { dim: 4 } data_filler { type: "gaussian" std: 1 }
  data_filler { type: "constant" value: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "acc" type: "Accuracy" bottom: "ip" bottom: "label" top: "acc"
  include { phase: TEST not_stage: "deploy" } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss"
  include { stage: "deploy" } include { phase: TRAIN } include { phase: TEST min_level: 0 } }
"""


@pytest.fixture
def solver() -> str:
    Path("net.prototxt").write_text(NET)
    Path("solver.prototxt").write_text(
        'net: "net.prototxt" test_iter: 2 test_interval: 100 base_lr: 0.1 lr_policy: "fixed" '
        'momentum: 0.9 display: 2 max_iter: 4 snapshot_prefix: "snap" random_seed: 1 '
        "solver_mode: CPU"
    )
    return "solver.prototxt"


def run(caplog: pytest.LogCaptureFixture, *argv: str) -> list[str]:
    """Run the command and return the texts of its log."""
    caplog.clear()
    with caplog.at_level(logging.INFO, "caffe"):
        assert command.main(list(argv)) == 0
    return [record.getMessage() for record in caplog.records]


def texts_of_reference(shared: Path, log: str, *starts: str) -> set[str]:
    """The lines of a log of real Caffe that begin so, with numbers and times struck out."""
    lines = (shared / "golden" / "logs" / log).read_text().splitlines()
    texts = {re.sub(r"^[IWEF]\S+ \S+ +\d+ \S+\] ", "", line) for line in lines}
    return {shape(text) for text in texts if text.startswith(starts)}


def shape(text: str) -> str:
    return re.sub(r"-?\d[\d.e+-]*(?=[ ,)]|$)", "N", text.replace("log_net", "tiny"))


def test_train_writes_snapshots_and_the_lines_that_tools_read(
    solver: str, caplog: pytest.LogCaptureFixture, shared: Path
) -> None:
    said = run(caplog, "train", "-solver", solver)
    assert Path("snap_iter_4.caffemodel").is_file() and Path("snap_iter_4.solverstate").is_file()
    assert [text for text in said if text == "Optimization Done."] == 2 * ["Optimization Done."]
    wanted = texts_of_reference(
        shared, "train.log", "Use CPU", "Starting", "Solving", "Iteration", "Optimization"
    )
    assert wanted - {shape(text) for text in said} == set()


@pytest.mark.parametrize("dash", ["-", "--"])
def test_resuming_and_finetuning(solver: str, caplog: pytest.LogCaptureFixture, dash: str) -> None:
    run(caplog, "train", f"{dash}solver={solver}")
    text = Path(solver).read_text()
    Path(solver).write_text(text.replace("max_iter: 4", "max_iter: 6"))
    said = run(caplog, "train", f"{dash}solver={solver}", f"{dash}snapshot=snap_iter_4.solverstate")
    assert "Resuming from snap_iter_4.solverstate" in said
    assert any(text.startswith("Iteration 4, loss") for text in said)
    assert Path("snap_iter_6.caffemodel").is_file()
    weights = "snap_iter_4.caffemodel,snap_iter_6.caffemodel"
    said = run(caplog, "train", f"{dash}solver={solver}", f"{dash}weights={weights}")
    assert "Finetuning from snap_iter_4.caffemodel" in said
    assert "Finetuning from snap_iter_6.caffemodel" in said
    assert any(text.startswith("Iteration 0, loss") for text in said)


def test_test_scores_batches_and_their_means(
    solver: str, caplog: pytest.LogCaptureFixture, shared: Path
) -> None:
    run(caplog, "train", "-solver", solver)
    flags = ("test", "-model", "net.prototxt", "-weights", "snap_iter_4.caffemodel")
    said = run(caplog, *flags, "-iterations", "3")
    assert said[:2] == ["Use CPU.", "Running for 3 iterations."]
    assert sum(text.startswith("Batch ") for text in said) == 6
    losses = [float(text.split()[-1]) for text in said if re.match(r"Batch \d, loss", text)]
    mean = sum(losses) / 3
    assert float(said[-1].split()[2]) == pytest.approx(mean, rel=1e-4)
    assert re.fullmatch(r"loss = \S+ \(\* 1 = \S+ loss\)", said[-1])
    assert texts_of_reference(shared, "test.log", "Loss") <= {shape(text) for text in said}
    said = run(caplog, *flags, "-iterations", "1", "-stage", "deploy")
    assert not any("acc" in text for text in said)


def test_time_shows_each_layer_then_the_averages(
    solver: str, caplog: pytest.LogCaptureFixture, shared: Path
) -> None:
    said = run(caplog, "time", "--model=net.prototxt", "--iterations=2")
    layers = [text for text in said if "\t" in text]
    assert [text.split()[0] for text in layers] == ["data", "data", "ip", "ip", "loss", "loss"]
    assert all(re.fullmatch(r" *\w+\t(forward|backward): \S+ ms\.", text) for text in layers)
    wanted = texts_of_reference(
        shared, "time.log", "Performing", "***", "Average", "Total", "Initial loss", "Iteration"
    )
    assert wanted - {shape(text) for text in said} == set()
    said = run(caplog, "time", "-model", "net.prototxt", "-iterations", "1", "-phase", "TEST")
    assert any(text.split()[0] == "acc" for text in said if "forward: " in text)


def test_a_python_layer_of_the_net_imports_caffe_by_itself(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("ones_layer.py").write_text(
        "import caffe\n\n\nclass Ones(caffe.Layer):\n"
        "    def reshape(self, bottom, top):\n        top[0].reshape(2)\n\n"
        "    def forward(self, bottom, top):\n        top[0].data[...] = 1\n"
    )
    Path("net.prototxt").write_text(
        'layer { name: "ones" type: "Python" top: "ones" '
        'python_param { module: "ones_layer" layer: "Ones" } }'
    )
    monkeypatch.syspath_prepend(str(Path.cwd()))
    said = run(caplog, "time", "-model", "net.prototxt", "-iterations", "1")
    assert any(text.split()[0] == "ones" for text in said)
    assert "caffe" not in sys.modules


@pytest.mark.parametrize(
    ("number", "flags", "snapshots", "iterations"),
    [
        (signal.SIGINT, [], 1, 3),
        (signal.SIGTERM, [], 1, 3),
        (signal.SIGHUP, [], 2, 4),
        (signal.SIGINT, ["-sigint_effect", "snapshot"], 2, 4),
        (signal.SIGHUP, ["-sighup_effect=stop"], 1, 3),
    ],
)
def test_signals_snapshot_or_stop_between_iterations(
    solver: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    flags: list[str],
    snapshots: int,
    iterations: int,
) -> None:
    update = command.Solver.add_callback

    def and_a_signal(self: command.Solver, on_start: object, ready: object) -> None:
        update(self, on_start, ready)  # type: ignore[arg-type]
        update(self, lambda: None, lambda: os.kill(os.getpid(), number) if self.iter == 2 else None)

    monkeypatch.setattr(command.Solver, "add_callback", and_a_signal)
    before = signal.getsignal(number)
    said = run(caplog, "train", "-solver", solver, *flags)
    assert signal.getsignal(number) == before
    assert len(list(Path().glob("*.caffemodel"))) == snapshots
    assert Path(f"snap_iter_{iterations}.solverstate").is_file()
    assert ("Optimization stopped early." in said) == (iterations == 3)
    assert said[-1] == "Optimization Done."


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["fly"], "Unknown action: fly .*device_query, test, time, train"),
        (["train"], "Need a solver definition to train"),
        (["train", "-solver=s", "-snapshot=a", "-weights=b"], "but not both"),
        (["test"], "Need a model definition"),
        (["test", "-model", "m"], "Need model weights"),
        (["time"], "Need a model definition to time"),
        (["time", "-model", "nowhere.prototxt"], "nowhere.prototxt"),
        (["time", "-model", "m", "-iterations", "0"], "at least 1"),
        (["train", "-solver=solver.prototxt", "-gpu", "0,1"], "torchrun"),
        (["train", "-solver=solver.prototxt", "-gpu", "first"], "number of a GPU"),
        (["train", "-solver=solver.prototxt", "-minloglevel=9"], "from 0 .* to 3"),
        (["train", "-solver=solver.prototxt", "-log_dir=nowhere"], "log_dir nowhere: No such"),
    ],
)
def test_mistakes_are_sentences(solver: str, argv: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        command.main(argv)


def test_glogs_own_flags_are_taken(
    solver: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("logs").mkdir()
    flags = ["-log_dir=logs", "--alsologtostderr", "-logtostderr=1"]
    for _ in range(2):  # the second run's file takes the place that tools look into
        said = run(caplog, *flags, "train", "-solver", solver)
    lines = Path("logs/caffe.INFO").read_text().splitlines()
    assert [line.split("] ", 1)[1] for line in lines] == said
    assert Path("logs/caffe.INFO").resolve().name.startswith("caffe.")
    assert "Optimization Done." in capsys.readouterr().err
    assert command.main(["train", "--minloglevel", "2", "-solver", solver]) == 0
    assert not capsys.readouterr().err


@pytest.mark.parametrize("flag", ["-help", "--help", "-version", "--version"])
def test_help_and_version(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([flag])
    assert ended.value.code == 0
    assert "caffe" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPU")
def test_without_a_gpu_the_gpu_is_missed_in_a_sentence(solver: str) -> None:
    with pytest.raises(UserError, match="no GPU 0"):
        command.main(["device_query"])
    with pytest.raises(UserError, match="no CUDA device"):
        command.main(["train", "-solver", solver, "-gpu", "0"])
