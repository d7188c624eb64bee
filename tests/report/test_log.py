"""Caffe's log lines: what is written reads back, upstream's logs and broken ones too."""

from __future__ import annotations

import logging
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchdet_caffe import glog
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.report.log import parse_log, read_log


def lines(*texts: str, clock: str = "10:00:00", date: str = "0101") -> str:
    return "".join(f"I{date} {clock}.000000    42 solver.py:7] {text}\n" for text in texts)


def display(iteration: int, loss: float, rate: float = 0.01) -> list[str]:
    return [
        glog.iteration_loss(iteration, loss),
        glog.train_output(0, "mbox_loss", loss, 1.0),
        glog.learning_rate(iteration, rate),
    ]


def test_head_of_a_line_is_glogs() -> None:
    record = logging.LogRecord("x", logging.WARNING, "/a/net.py", 12, "text %d", (3,), None)
    line = glog.GlogFormatter().format(record)
    assert re.fullmatch(r"W\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ net\.py:12\] text 3", line)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (16.308472, "16.3085"),
        (0.003367003, "0.003367"),
        (1e-5, "1e-05"),
        (1234567, "1.23457e+06"),
        (0.02, "0.02"),
        (3, "3"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_numbers_print_as_a_cpp_stream_prints_them(value: float, text: str) -> None:
    assert glog.number(value) == text


def test_line_texts_are_the_references(shared: Path) -> None:
    """Each text that we write stands in the reference's own log."""
    theirs = {line.split("] ", 1)[-1] for line in _golden(shared, "train").splitlines()}
    ours = {
        glog.STARTING,
        glog.DONE,
        glog.solving("log_net"),
        glog.learning_rate_policy("multistep"),
        glog.testing(20),
        glog.class_ap(2, 0.00336700),
        glog.missing_detections(1),
        glog.test_output(0, "detection_eval", 0.114636),
        glog.iteration_loss(10, 9.174508),
        glog.train_output(0, "mbox_loss", 6.33788, 1.0),
        glog.learning_rate(40, 0.002),
        glog.multistep(40, 1),
        glog.snapshot_model("snap_iter_30.caffemodel"),
        glog.snapshot_state("snap_iter_30.solverstate"),
        glog.ignoring_layer("mbox_loss"),
    }
    assert ours <= theirs
    resumed = _golden(shared, "resume")
    assert f"] {glog.resuming('snap_iter_60.solverstate')}\n" in resumed
    assert f"] {glog.finetuning('snap_iter_60.caffemodel')}\n" in _golden(shared, "finetune")


def test_the_references_training_log(shared: Path) -> None:
    log = read_log(shared / "golden/logs/train.log")
    assert log.net == "log_net"
    assert (log.done, log.runs, log.fatal) == (True, 1, None)
    assert log.loss.iteration.tolist() == [0, 10, 20, 30, 40, 50, 60]
    assert log.loss.value[[0, 1, -1]].tolist() == [16.3085, 9.17451, 5.31772]
    assert log.rate.value.tolist() == [0.02, 0.02, 0.02, 0.02, 0.002, 0.002]
    assert log.train["mbox_loss"].value[1] == 6.33788
    assert log.test[0]["detection_eval"].iteration.tolist() == [0, 20, 40, 60]
    assert log.test[0]["detection_eval"].value[-1] == 0.0851879
    assert log.class_ap[0][1].value.tolist() == [0, 0.236645, 0.155678, 0.233288]
    assert log.snapshots[60] == "snap_iter_60.caffemodel"


def test_a_resumed_run_in_the_same_file_goes_on(shared: Path) -> None:
    log = parse_log(_golden(shared, "train") + _golden(shared, "resume"))
    assert log.runs == 2
    assert log.loss.iteration.tolist() == [0, 10, 20, 30, 40, 50, 60, 70]
    assert log.loss.value[-2] == 4.77705  # said again by the second run
    assert log.test[0]["detection_eval"].value[-1] == 0.0836611


def test_a_run_from_the_start_in_the_same_file_takes_the_place_of_the_one_before(
    shared: Path,
) -> None:
    whole = _golden(shared, "train")
    begun = whole[: whole.index("Iteration 20, loss")] + "\n"
    log = parse_log(whole + begun)
    assert (log.runs, log.done, log.snapshots) == (2, False, {})
    assert log.loss.iteration.tolist() == [0, 10]
    # One that goes on from a snapshot still has it.
    assert min(parse_log(whole + _golden(shared, "resume")).snapshots) == 30


@pytest.mark.parametrize("name", ["debug_info", "finetune"])
def test_other_logs_of_the_reference(shared: Path, name: str) -> None:
    log = read_log(shared / f"golden/logs/{name}.log")
    assert log.done
    assert log.loss.iteration[0] == 0


def test_a_failed_check_is_reported(shared: Path) -> None:
    log = read_log(shared / "golden/logs/no_solver_flag.log")
    assert log.fatal is not None and "Need a solver definition" in log.fatal


def test_a_file_without_solver_lines_is_the_users_mistake(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("buy milk\n")
    with pytest.raises(UserError, match="no line of a Caffe solver"):
        read_log(path)


def test_nan_and_inf_are_numbers() -> None:
    log = parse_log(lines(glog.solving("n"), *display(0, math.nan), *display(10, math.inf)))
    assert np.isnan(log.loss.value[0]) and np.isposinf(log.loss.value[1])
    log = parse_log(lines("Iteration 3, loss = -nan"))
    assert np.isnan(log.loss.value[0])


def test_time_counts_from_solving_and_over_new_year_and_skips_pauses() -> None:
    first = lines(glog.solving("n"), clock="23:59:58", date="1231")
    first += lines(*display(10, 5.0), clock="00:00:08")
    again = lines(glog.solving("n"), clock="09:00:00") + lines(*display(10, 4.0), clock="09:00:05")
    assert parse_log(first, 2023).loss.seconds.tolist() == [10]
    log = parse_log(first + again, 2023)
    assert (log.loss.seconds.tolist(), log.loss.value.tolist()) == ([15], [4.0])


def test_a_killed_run_leaves_half_a_line() -> None:
    """Half a number is no number, and the next run's line is found behind the half line."""
    text = lines(glog.solving("n"), *display(0, 9.0)) + lines("Iteration 10, loss = 5.123")[:-3]
    assert parse_log(text).loss.iteration.tolist() == [0]
    text += lines(glog.solving("n"), *display(0, 8.0))
    assert parse_log(text).loss.value.tolist() == [8.0]


def test_a_name_with_several_numbers_keeps_them_apart() -> None:
    outputs = [glog.test_output(i, "box", i / 10) for i in range(3)]
    log = parse_log(lines(glog.solving("n"), glog.testing(0), *outputs))
    assert {name: s.value[0] for name, s in log.test[0].items()} == {
        "box": 0.0,
        "box_1": 0.1,
        "box_2": 0.2,
    }


def test_a_warning_alone_makes_no_class_curve() -> None:
    texts = [glog.solving("n"), glog.testing(0), glog.missing_detections(4)]
    assert parse_log(lines(*texts)).class_ap == {}
    log = parse_log(lines(*texts, glog.class_ap(1, 0.5)))
    assert {k: s.value[0] for k, s in log.class_ap[0].items()} == {4: 0.0, 1: 0.5}


def test_later_caffes_print_the_speed() -> None:
    log = parse_log(lines("Iteration 20 (3.2 iter/s, 6.2s/20 iters), loss = 1.5"))
    assert (log.loss.iteration[0], log.loss.value[0]) == (20, 1.5)


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=20),
    st.lists(st.text(max_size=40), max_size=5),
    st.integers(0, 500),
)
def test_round_trip_through_noise_and_a_cut(losses, noise, cut) -> None:  # type: ignore[no-untyped-def]
    texts = [text for i, loss in enumerate(losses) for text in display(i * 10, loss)]
    text = "\n".join(n.replace("] ", "") for n in noise) + "\n" + lines(glog.solving("n"), *texts)
    values = parse_log(text).loss.value
    expected = [float(glog.number(loss)) for loss in losses]
    assert np.array_equal(values, expected, equal_nan=True)
    shorter = parse_log(text[: max(len(text) - cut, 0)]).loss.value
    assert np.array_equal(shorter, expected[: len(shorter)], equal_nan=True)


def _golden(shared: Path, name: str) -> str:
    return (shared / f"golden/logs/{name}.log").read_text()
