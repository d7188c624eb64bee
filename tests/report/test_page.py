"""The report page: carries everything in itself, and shows what is there."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchdet_caffe import glog
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.data.database import record_key, write_database
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.metrics import ImageResult, Results, summary, write_results
from scratchdet_caffe.report import __main__ as command
from scratchdet_caffe.report.curves import smoothed, training_curve
from scratchdet_caffe.report.job import read_job
from scratchdet_caffe.report.log import parse_log
from scratchdet_caffe.report.page import duration, render_page
from scratchdet_caffe.report.pictures import SIDE, draw

RESULTS = Results(
    ("background", "cat", "<b>dog</b>"),
    [
        ImageResult(
            f"image{i}",
            64,
            32,
            np.array([[1, 0.9, 11, 5, 30, 20], [2, 0.2, 1, 1, 9, 9]]),
            np.array([[1, 0, 11, 5, 30, 20], [2, 1, 1, 1, 9, 9]]),
        )
        for i in range(3)
    ],
)
GREY = np.full((32, 64, 3), 128, np.uint8)


def log_text(last: float = 1.0) -> str:
    texts = [glog.solving("net")]
    for i in range(5):
        texts += [glog.testing(i * 10), glog.class_ap(1, i / 5)]
        texts += [glog.test_output(0, "detection_eval", i / 5)]
        loss = 5.0 - i if i < 4 else last
        texts += [glog.iteration_loss(i * 10, loss), glog.learning_rate(i * 10, 0.1)]
    return "".join(f"I0101 00:00:{i:02d}.000000 1 s.py:1] {t}\n" for i, t in enumerate(texts))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A job with everything that a run leaves."""
    job = tmp_path / "job"
    (job / "results").mkdir(parents=True)
    asked = {"arch": "net18", "dataset": "data/x y", "max_iter": 50, "set": ["a.b=1", "a.c=2"]}
    record = {"asked": asked, "arch": "net18", "dataset": {"name": "x", "classes": []}}
    (job / "job.json").write_text(json.dumps(record))
    (job / "train.log").write_text(log_text())
    write_results(job / "results/detections.json", RESULTS)
    about = {"weights": "w", "date": "today", "engine": "torch", "device": "cpu"}
    (job / "results/metrics.json").write_text(json.dumps({**about, **summary(RESULTS)}))
    source = tmp_path / "lmdb"
    datum = pb.Datum(channels=3, height=32, width=64, data=GREY.transpose(2, 0, 1).tobytes())
    records = [(record_key(i, f"{i}.jpg"), pb.AnnotatedDatum(datum=datum)) for i in range(3)]
    write_database(source, records)
    (job / "test.prototxt").write_text(
        f'layer {{ name: "data" type: "AnnotatedData" data_param {{ source: "{source}" }} }}'
    )
    return job


class Reader(HTMLParser):
    """Collects the addresses and the headings of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.links: list[str] = []
        self.headings: list[str] = []
        self.inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag
        for name, value in attrs:
            if name == "src" or (tag, name) == ("image", "href"):
                self.sources.append(value or "")
            if (tag, name) == ("a", "href"):
                self.links.append(value or "")

    def handle_data(self, data: str) -> None:
        if self.inside == "h2" and data.strip():
            self.headings.append(data)


def test_the_whole_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.main([str(folder)])
    assert str(folder / "report.html") in capsys.readouterr().out
    text = (folder / "report.html").read_text()
    page = Reader(text)
    assert page.headings == [
        "Training", "During training", "Classes", "Precision and recall", "Pictures",
        "How it was made",
    ]  # fmt: skip
    # Self-contained: pictures stand in the page, links lead to files of the job.
    assert len(page.sources) == 3 + 3 and all(s.startswith("data:image/") for s in page.sources)
    assert len(page.links) == 5 and all((folder / link).exists() for link in page.links)
    assert not re.search(r"""(?:src|href)=["']?https?:""", text) and len(text) < 2_000_000
    # Names are text, not markup.
    assert "<b>dog</b>" not in text and "&lt;b&gt;dog&lt;/b&gt;" in text
    assert "--arch net18 --dataset &#39;data/x y&#39; --max-iter 50 --set a.b=1 --set a.c=2" in text
    assert "cat 0.90" in text


def test_links_are_relative_to_where_the_page_lies(folder: Path) -> None:
    command.main([str(folder), "--out", str(folder.parent / "pages/one.html")])
    links = Reader((folder.parent / "pages/one.html").read_text()).links
    assert "../job/train.log" in links


@pytest.mark.parametrize(
    ("kept", "headings"),
    [
        (["job.json"], ["How it was made"]),
        (["train.log"], ["Training", "During training", "How it was made"]),
        (["results/detections.json"], ["Precision and recall", "How it was made"]),
        (["results/metrics.json"], ["Classes", "How it was made"]),
    ],
)
def test_works_with_what_is_there(folder: Path, kept: list[str], headings: list[str]) -> None:
    for name in read_job(folder).files:
        if name not in kept:
            (folder / name).unlink()
    command.main([str(folder)])
    assert Reader((folder / "report.html").read_text()).headings == headings


def test_without_the_database_there_are_no_pictures(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = folder / "test.prototxt"
    net.write_text(net.read_text().replace("/lmdb", "/gone"))
    command.main([str(folder)])
    assert "no pictures" in capsys.readouterr().out
    assert "Pictures" not in Reader((folder / "report.html").read_text()).headings


def test_a_failed_run_says_so(folder: Path) -> None:
    with open(folder / "train.log", "a") as log:
        log.write("F0101 00:00:59.000000 1 s.py:1] Check failed: loss is finite\n")
    assert "Check failed: loss is finite" in render_page(read_job(folder))


@pytest.mark.parametrize(
    ("path", "text", "sentence"),
    [
        ("job.json", "{", "job.json: not JSON"),
        ("results/metrics.json", "[]", "not a JSON object"),
        ("results/metrics.json", "{}", "metrics.json: 'map' is missing"),
        ("results/detections.json", "{}", "not a detections.json"),
    ],
)
def test_damaged_files_are_named(folder: Path, path: str, text: str, sentence: str) -> None:
    (folder / path).write_text(text)
    with pytest.raises(UserError, match=sentence):
        command.main([str(folder)])


@pytest.mark.parametrize("log", [b"", b"nothing\n", b"\x00\xff\n" * 9, b"I9999 99:99:99.0 1 s.p"])
def test_a_damaged_log_leaves_the_page_without_curves(folder: Path, log: bytes) -> None:
    (folder / "train.log").write_bytes(log)
    command.main([str(folder)])
    text = (folder / "report.html").read_text()
    assert Reader(text).headings == [
        "No curves", "Classes", "Precision and recall", "Pictures", "How it was made",
    ]  # fmt: skip
    assert "train.log: no line of a Caffe solver in it" in text


def test_a_folder_without_a_job_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no job in it"):
        command.main([str(tmp_path)])
    with pytest.raises(UserError, match="no such folder"):
        command.main([str(tmp_path / "nowhere")])


def test_results_of_another_database_are_refused(folder: Path) -> None:
    write_results(folder / "results/detections.json", Results(RESULTS.classes, RESULTS.images[:2]))
    with pytest.raises(UserError, match="run evaluate again"):
        command.main([str(folder)])


def test_csv_and_plots_of_a_log(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "plots"
    command.main(["log", str(folder / "train.log"), "--out", str(out)])
    made = {path.name for path in out.iterdir()}
    assert made == {"train.log.train", "train.log.test", "train.log.loss.png", "train.log.test.png"}
    assert (out / "train.log.loss.png").read_bytes().startswith(b"\x89PNG")
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_a_diverged_loss_is_marked() -> None:
    figure = training_curve(parse_log(log_text(last=float("nan"))))
    labels = [line.get_label() for line in figure.axes[0].lines]
    assert "not finite from 40" in labels


def test_boxes_are_drawn_in_the_frame_of_the_drawing() -> None:
    drawing = draw(RESULTS.images[0], GREY, RESULTS.classes)
    assert (drawing.width, drawing.height) == (SIDE, SIDE / 2)
    (found,) = drawing.detections  # the other scores less than 0.5
    scale = SIDE / 64
    assert (found.x, found.y) == (10 * scale, 4 * scale)  # pixel 11 begins at 10
    assert (found.width, found.height) == (20 * scale, 16 * scale)
    assert [shape.difficult for shape in drawing.truth] == [False, True]


@given(st.lists(st.floats(-1e3, 1e3), max_size=200))
def test_smoothing_stays_within_its_values(values: list[float]) -> None:
    smooth = smoothed(np.array(values))
    assert len(smooth) == len(values)
    if values:
        assert min(values) - 1e-6 <= smooth.min() and smooth.max() <= max(values) + 1e-6


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "1 min 0 s"), (185, "3 min 5 s"), (25920, "7 h 12 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
