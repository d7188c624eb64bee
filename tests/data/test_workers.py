"""Worker processes: they die loudly, end with their parent, and leave nothing behind."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.data import Batches, loader
from scratchdet_caffe.data.annotation import Annotation, Object
from scratchdet_caffe.data.convert import ListEntry
from scratchdet_caffe.data.samples import Sample
from scratchdet_caffe.data.sources import SampleRecords
from scratchdet_caffe.errors import UserError

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
KEYS = [f"{i:08d}_{i}.png" for i in range(8)]


def children(parent: int) -> list[int]:
    """The processes that ``parent`` has started and that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, owner = path.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(owner) == parent and state != "Z":
            found.append(int(path.parent.name))
    return found


def until(reached: Callable[[], object], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def layer(source: Path, batch: int = 2) -> pb.LayerParameter:
    made = pb.LayerParameter(name="data", type="AnnotatedData")
    made.transform_param.force_color = True
    made.transform_param.resize_param.width = made.transform_param.resize_param.height = 32
    made.data_param.batch_size, made.data_param.source = batch, str(source)
    return made


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Eight pictures, whose annotations are functions that can be sent to a worker."""
    made = []
    for i in range(8):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 60, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"{i}.png"), pixels)
        read = functools.partial(Annotation, 60, 40, (Object("a", (1, 2, 30, 30), False),))
        made.append(Sample(ListEntry(f"{i}.png", ""), read, str(i), "", tmp_path))
    return made


@pytest.fixture
def served(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Batches]:
    """A function that makes `Batches` of the samples; a poisoned one ends its process."""

    def make(poisoned: int | None = None, **options: object) -> Batches:
        given = list(samples)
        if poisoned is not None:
            last = functools.partial(os._exit, 7)
            given[poisoned] = Sample(given[poisoned].entry, last, "x", "", tmp_path)
        records = SampleRecords(tmp_path, tmp_path, given, {"a": 1})
        monkeypatch.setattr(loader, "open_records", lambda layer, phase: records)
        return Batches(layer(tmp_path), pb.TRAIN, 0, **options)

    return make


def test_a_record_that_ends_its_worker_is_named(served: Callable[..., Batches]) -> None:
    with served(poisoned=3, workers=2) as batches:
        batches.next()
        for _ in range(2):
            with pytest.raises(
                UserError, match=r"a data worker died \(exit status 7\) at"
            ) as error:
                batches.next()
        assert f"record '{KEYS[3]}'; waiting were " in str(error.value)
    assert not children(os.getpid())


def test_a_record_that_ends_its_worker_can_be_skipped(
    served: Callable[..., Batches], caplog: pytest.LogCaptureFixture
) -> None:
    with served(threads=0) as batches:
        sound = [batches.next()[0].copy() for _ in range(4)]
    with served(poisoned=3, workers=2, on_bad="skip") as batches:
        found = [batches.next()[0].copy() for _ in range(4)]
        assert batches.skipped == 1
    np.testing.assert_array_equal(found[1][1], sound[2][0])  # the next record instead
    found[1][1] = sound[1][1]
    np.testing.assert_array_equal(found, sound)
    assert f"record '{KEYS[3]}': it ended the process that made it" in caplog.text


def test_a_killed_worker_is_reported_with_what_it_held(served: Callable[..., Batches]) -> None:
    with served(workers=1) as batches:
        batches.next()
        (worker,) = children(os.getpid())
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(UserError, match=r"killed by signal 9\) (at|before its next record)"):
            for _ in range(10):
                batches.next()
    with served(workers=1) as batches:
        (data, _label), (worker,) = batches.next(), children(os.getpid())
        assert data.shape == (2, 3, 32, 32)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(worker, number)  # meant for the program; its own is to end with it
        assert len([batches.next() for _ in range(5)]) == 5
    assert not children(os.getpid())


SCRIPT = """
import sys, time
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.data import Batches
layer = pb.LayerParameter.FromString(bytes.fromhex(sys.argv[1]))
batches = Batches(layer, pb.TRAIN, 0, workers=2)
print(batches.next()[0].shape, flush=True)
if sys.argv[2] == "wait":
    time.sleep(60)
if sys.argv[2] == "raise":
    raise SystemError("the program fails")
"""


@pytest.mark.parametrize("end", ["SIGKILL", "raise", "without closing"])
def test_workers_end_with_their_program(end: str, samples: list[Sample], tmp_path: Path) -> None:
    folder = tmp_path / "voc"
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    (tmp_path / "0.png").rename(folder / "JPEGImages/a.png")
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    xml = f"<annotation><object><name>a</name>{box}</object></annotation>"
    (folder / "Annotations/a.xml").write_text(xml)
    (folder / "ImageSets/Main/trainval.txt").write_text("a\n")
    asked = layer(folder)
    asked.annotated_data_param.label_map_file = str(tmp_path / "map")
    items = 'item { name: "background" label: 0 } item { name: "a" label: 1 }'
    (tmp_path / "map").write_text(items)
    shared = Path("/dev/shm")
    before = set(os.listdir(shared)) if shared.is_dir() else set()
    what = {"SIGKILL": "wait", "raise": "raise"}.get(end, "end")
    run = [sys.executable, "-c", SCRIPT, asked.SerializeToString().hex(), what]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(run, **pipes, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "(2, 3, 32, 32)\n"
        workers = children(program.pid)
        if end == "SIGKILL":
            assert len(workers) == 2
            program.kill()
        errors = program.communicate()[1]
    if end == "without closing":
        assert (program.returncode, errors) == (0, "")
    assert until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    assert (set(os.listdir(shared)) if shared.is_dir() else set()) <= before
