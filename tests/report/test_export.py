"""CSV of a log has upstream's columns."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from scratchdet_caffe.report.export import csv_tables
from scratchdet_caffe.report.log import parse_log, read_log


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_references_log_in_upstreams_columns(shared: Path) -> None:
    tables = csv_tables(read_log(shared / "golden/logs/train.log"))
    assert set(tables) == {"train", "test"}
    train, test = rows(tables["train"]), rows(tables["test"])
    assert list(train[0])[:4] == ["NumIters", "Seconds", "LearningRate", "mbox_loss"]
    assert list(test[0])[:4] == ["NumIters", "Seconds", "LearningRate", "detection_eval"]
    assert (train[1]["NumIters"], train[1]["mbox_loss"]) == ("10", "6.33788")
    assert train[1]["TrainingLoss"] == "9.17451"
    assert test[1]["detection_eval"] == "0.114636"
    assert float(test[1]["class2"]) == 0.003367
    assert [row["LearningRate"] for row in test] == ["0.02", "0.02", "0.002", "0.002"]


def test_what_was_not_said_is_empty() -> None:
    text = "I0101 00:00:00.000000 1 s.cpp:1] Iteration 5, Testing net (#1)\n"
    text += "I0101 00:00:01.000000 1 s.cpp:1]     Test net output #0: ap = nan\n"
    tables = csv_tables(parse_log(text))
    assert rows(tables["train"]) == []
    (row,) = rows(tables["test1"])
    assert (row["NumIters"], row["LearningRate"], row["ap"]) == ("5", "", "nan")
    assert float(row["Seconds"]) == pytest.approx(0)
