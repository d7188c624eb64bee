"""How AnnotatedData layers load: worker processes, bad records, and waiting in the log."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.data import write_database
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.report.log import read_log

NET = """
layer { name: "data" type: "AnnotatedData" top: "data" top: "label"
  transform_param { mirror: true force_color: true resize_param { width: 8 height: 8 } }
  data_param { source: "db" batch_size: 3 } }
layer { name: "silence" type: "Silence" bottom: "label" }
layer { name: "zero" type: "DummyData" top: "zero" dummy_data_param { shape { dim: 3 dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param {
  num_output: 2 weight_filler { type: "gaussian" std: 0.001 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "zero" top: "loss" }
"""
SOLVER = """
net: "net.prototxt" base_lr: 1e-7 lr_policy: "fixed" max_iter: 6 display: 2 random_seed: 3
snapshot_prefix: "run" snapshot_after_train: false
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A net on a database of seven pictures, the last of which is none."""
    monkeypatch.chdir(tmp_path)
    records = []
    for i in range(7):
        pixels = np.random.default_rng(i).integers(0, 256, (20, 30, 3), np.uint8)
        record = pb.AnnotatedDatum(type=pb.AnnotatedDatum.BBOX)
        record.datum.encoded = True
        record.datum.data = cv2.imencode(".png", pixels)[1].tobytes() if i < 6 else b"none"
        records.append((f"{i:08d}_{i}.png", record))
    write_database("db", records)
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    yield tmp_path
    caffe.set_data_loading()


def trained(**how: object) -> np.ndarray:
    caffe.set_data_loading(**how)
    solver = caffe.get_solver("solver.prototxt")
    solver.solve()
    return solver.net.params["ip"][0].data.copy()


def test_workers_change_no_bit_of_a_training() -> None:
    expected = trained(threads=0, on_bad="skip")
    for how in ({"threads": 2}, {"workers": 2}):
        np.testing.assert_array_equal(trained(on_bad="skip", **how), expected)


def test_a_bad_record_stops_the_training_or_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UserError, match=r"db: record '00000006_6\.png': .* cannot be decoded"):
        trained()
    caplog.set_level(logging.INFO, "caffe")
    trained(on_bad="skip")
    assert re.search(r"Skipped .*db: record '00000006_6\.png': .* cannot be decoded", caplog.text)
    # Iteration 4 is shown when five batches of three, two epochs and a record, were read.
    assert re.search(r"Data layer 'data': waited .* %\), 2 bad records skipped", caplog.text)


@pytest.mark.parametrize("kind", ["Data", "ImageData"])
def test_pictures_with_one_label_can_be_skipped_too(
    kind: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for i in range(3):
        cv2.imwrite(f"{i}.png", np.full((8, 8, 3), i, np.uint8))
    Path("1.png").write_bytes(b"none")
    records = [pb.Datum(data=Path(f"{i}.png").read_bytes(), encoded=True) for i in range(3)]
    write_database("labelled", [(f"{i}", record) for i, record in enumerate(records)])
    Path("list.txt").write_text("0.png 0\n1.png 0\n2.png 0\n")
    source = {
        "Data": 'data_param { source: "labelled" batch_size: 3 backend: LMDB }',
        "ImageData": 'image_data_param { source: "list.txt" batch_size: 3 }',
    }
    text = f'layer {{ name: "d" type: "{kind}" top: "d" top: "l" {source[kind]} }}'
    Path("pictures.prototxt").write_text(text)
    with pytest.raises(UserError, match=r"1(\.png|'): .*cannot be decoded"):
        caffe.Net("pictures.prototxt", caffe.TEST)
    caffe.set_data_loading(on_bad="skip")
    net = caffe.Net("pictures.prototxt", caffe.TEST)
    assert net.forward()["d"][:, 0, 0, 0].tolist() == [0, 2, 2]
    assert len([line for line in caplog.messages if "Skipped" in line]) == 1


def test_settings_that_make_no_sense_are_sentences() -> None:
    with pytest.raises(UserError, match="must not be negative"):
        caffe.set_data_loading(workers=-1)
    with pytest.raises(UserError, match="on_bad is 'stop' or 'skip', not 'maybe'"):
        trained(on_bad="maybe")


def test_the_command_takes_the_flags_and_logs_the_share_of_waiting(folder: Path) -> None:
    command = [sys.executable, "-m", "scratchdet_caffe.train", "--solver", "solver.prototxt"]
    flags = ["--data-workers", "1", "--on-bad", "skip"]
    done = subprocess.run([*command, *flags], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = (folder / "train.log").read_text().splitlines()
    waits = [line for line in lines if "] Data layer 'data': waited" in line]
    assert len(waits) == 2  # at iterations 2 and 4: what came before, the start, is no waiting
    pattern = r"\] Data layer 'data': waited (\d+\.\d\d) s of (\d+\.\d\d) s \((\d+\.\d) %\)"
    for line in waits:
        waited, seconds, share = map(float, re.search(pattern, line).groups())
        assert 0 <= waited <= seconds
        assert 0 <= share <= 100
    # Who reads the log for losses reads the same with and without these lines.
    without = folder / "without.log"
    without.write_text("\n".join(line for line in lines if line not in waits) + "\n")
    assert repr(read_log(folder / "train.log")) == repr(read_log(without))
