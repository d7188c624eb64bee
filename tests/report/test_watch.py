"""A run watched while its log grows: on the terminal, and in event files."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.report.__main__ import main
from scratchdet_caffe.report.events import EventWriter
from scratchdet_caffe.report.follow import LogFollower
from scratchdet_caffe.report.log import parse_log, read_log
from scratchdet_caffe.report.watch import Watched, sparkline, view


def shown(text: str, max_iter: int = 60, age: float = 0) -> str:
    console = Console(width=90, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(view(Watched(Path("train.log"), max_iter), parse_log(text), age))
    console.file.close()
    return console.export_text()


def golden(shared: Path, name: str = "train") -> str:
    return (shared / f"golden/logs/{name}.log").read_text()


def test_a_log_read_in_pieces_is_the_log_read_at_once(shared: Path, tmp_path: Path) -> None:
    text, path = golden(shared).encode(), tmp_path / "train.log"
    path.write_bytes(b"")
    follower = LogFollower(path)
    for start in range(0, len(text), 9973):
        with open(path, "ab") as stream:
            stream.write(text[start : start + 9973])
        assert follower.poll()
    ours, whole = follower.log(), read_log(path)
    assert not follower.poll()
    np.testing.assert_array_equal(ours.loss.value, whole.loss.value)
    assert ours.test[0].keys() == whole.test[0].keys()
    assert ours.class_ap[0][2].value.tolist() == whole.class_ap[0][2].value.tolist()
    path.rename(tmp_path / "old.log")
    path.write_bytes(text[: len(text) // 2])
    follower.poll()
    assert len(follower.log().loss.value) < len(whole.loss.value)


def test_a_run_is_shown_with_its_tests_and_classes(shared: Path) -> None:
    text = golden(shared)
    said = shown(text)
    assert "log_net: done" in said
    assert "iteration 60 of 60" in said
    assert "loss 5.318, learning rate 0.002" in said
    assert "detection_eval" in said and "0.0852" in said
    assert "class 1 0.233" in said
    assert "newest snapshot: iteration 60, snap_iter_60.caffemodel" in said
    half = text[: text.index("Iteration 40, loss")]
    assert "log_net: running" in shown(half, 600) and "of 600" in shown(half, 600)
    assert "silent for 10 min 0 s" in shown(half, age=600)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("I0101 00:00:09.000000 1 a.cpp:1] Optimization stopped early.", "stopped before its end"),
        ("E0101 00:00:09.000000 1 a.py:1] Iteration 9, loss = nan: diverged; x", "diverged"),
        ("F0101 00:00:09.000000 1 a.cpp:1] Check failed: error", "failed"),
    ],
)
def test_how_a_run_ended_is_said(line: str, word: str) -> None:
    said = shown("I0101 00:00:00.000000 1 a.cpp:1] Solving n\n" + line + "\n")
    assert f"n: {word}" in said


def test_sparklines() -> None:
    assert sparkline(np.array([1.0, 2, 3, 8]), 4) == "▁▂▃█"
    assert sparkline(np.array([1.0, np.nan]), 4) == "▁!"
    assert len(sparkline(np.arange(1000.0), 60)) == 60


def test_the_command_shows_a_run_once_where_nobody_watches(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.log").write_text(golden(shared))
    main(["watch", str(tmp_path)])
    assert "log_net: done" in capsys.readouterr().out
    with pytest.raises(UserError, match="no such log"):
        main(["watch", str(tmp_path / "nowhere")])


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard reads in ``folder``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that it imports
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(folder)).Reload()
        return {
            tag: {event.step: event.value for event in events.Scalars(tag)}
            for tag in events.Tags()["scalars"]
        }


def test_tensorboard_reads_what_the_log_says(shared: Path, tmp_path: Path) -> None:
    main(["events", str(shared / "golden/logs/train.log"), "--out", str(tmp_path)])
    log, found = read_log(shared / "golden/logs/train.log"), scalars(tmp_path)
    for tag, series in (
        ("train/loss", log.loss),
        ("train/learning_rate", log.rate),
        ("test/detection_eval", log.test[0]["detection_eval"]),
        ("test/class/2", log.class_ap[0][2]),
    ):
        assert list(found[tag]) == series.iteration.tolist(), tag
        np.testing.assert_allclose(list(found[tag].values()), series.value, rtol=1e-6)


def test_a_resumed_run_takes_the_place_of_what_it_does_again(shared: Path, tmp_path: Path) -> None:
    first, second = golden(shared), golden(shared, "resume")
    writer = EventWriter(tmp_path)
    writer.update(parse_log(first))
    writer.update(parse_log(first + second))
    writer.close()
    log = parse_log(first + second)
    found = scalars(tmp_path)["train/loss"]
    assert list(found) == log.loss.iteration.tolist()
    np.testing.assert_allclose(list(found.values()), log.loss.value, rtol=1e-6)
