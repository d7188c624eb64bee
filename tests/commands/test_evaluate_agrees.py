"""The mAP in the training log and that of `evaluate` are one number."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scratchdet_caffe import evaluate, gen, glog, prepare, train
from scratchdet_caffe.report.log import read_log


def test_the_log_and_evaluate_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of a snapshot score what the log said when they were written.

    So do the last ones: the pass of the train net that shows the last loss, between the last
    snapshot and the last test, leaves BatchNorm's sums alone.
    """
    monkeypatch.chdir(tmp_path)
    prepare.main(["shapes", "--out", "data/shapes", "--train", "12", "--test", "9"])
    options = "--arch root_resnet18 --dataset data/shapes --recipe mini --max-iter 40 --job job"
    settings = (
        "solver.snapshot=20",
        "solver.test_interval=20",
        "solver.random_seed=3",
        "data.batch_size=4",
    )
    gen.main([*options.split(), *(word for s in settings for word in ("--set", s))])
    job = Path("models/root_resnet18/shapes/job")
    train.main(["--solver", str(job / "solver.prototxt")])

    logged = read_log(job / "train.log").test[0]["detection_eval"]
    assert logged.iteration.tolist() == [20, 40]
    for iteration, value in zip(logged.iteration, logged.value):
        (weights,) = job.glob(f"*_iter_{iteration}.caffemodel")
        evaluate.main([str(job), "--weights", str(weights)])
        metrics = json.loads((job / "results/metrics.json").read_text())
        mine = metrics["map"]["detection_eval 11point"]
        assert glog.number(mine) == glog.number(value), f"iteration {iteration}"
    assert mine > 0  # even so few iterations find something, with this seed
