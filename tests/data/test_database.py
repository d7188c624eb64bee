"""LMDBs: the reference's are read, ours equal them record for record, bad ones are sentences."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto.labelmap import labels_by_name, read_label_map
from scratchdet_caffe.data import Database, write_database
from scratchdet_caffe.data.convert import Encoding, ListEntry, record_of, stored
from scratchdet_caffe.data.database import record_key
from scratchdet_caffe.data.labelfiles import READERS
from scratchdet_caffe.data.pixels import pixels_of
from scratchdet_caffe.errors import UserError


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def boxes_of(record: pb.AnnotatedDatum) -> list[dict[str, Any]]:
    """The annotation groups in the form of records.json."""
    edges = ("xmin", "ymin", "xmax", "ymax")
    return [
        {
            "group_label": group.group_label,
            "annotation": [
                {
                    "instance_id": item.instance_id,
                    "bbox": {
                        **{
                            edge: pytest.approx(getattr(item.bbox, edge), abs=1e-7)
                            for edge in edges
                        },
                        "difficult": item.bbox.difficult,
                    },
                }
                for item in group.annotation
            ],
        }
        for group in record.annotation_group
    ]


@pytest.mark.parametrize(
    "name",
    [
        "encoded_jpg",
        "encoded_native",
        "gray",
        "json",
        "min_max_dim",
        "raw_resized",
        "synthetic_raw",
        "txt",
    ],
)
def test_reads_the_reference(name: str, shared: Path) -> None:
    folder = shared / "golden/data"
    expected = json.loads((folder / "records.json").read_text())[f"lmdb_{name}"]["records"]
    database = Database(folder / f"lmdb_{name}")
    assert len(database) == len(expected)
    for index, wanted in enumerate(expected):
        record = database.record(index)
        assert database.key(index) == wanted["key"]
        assert record.datum.encoded == wanted["encoded"]
        shape = (record.datum.channels, record.datum.height, record.datum.width)
        assert shape == (wanted["channels"], wanted["height"], wanted["width"])
        assert sha(record.datum.data) == wanted["data_sha256"]
        assert boxes_of(record) == wanted["annotation_group"]


CASES = {
    "encoded_jpg": Encoding(),
    "encoded_native": Encoding(encode_type=""),
    "synthetic_raw": Encoding(encoded=False),
    "raw_resized": Encoding(encoded=False, resize_width=60, resize_height=40),
    "min_max_dim": Encoding(encode_type="png", min_dim=64, max_dim=100),
    "gray": Encoding(encode_type="png", gray=True),
    "json": Encoding(encode_type="png"),
    "txt": Encoding(encode_type="png"),
}
# Of these types a file may be kept byte for byte.
KEPT = {"encoded_jpg": ("jpg", "jpeg"), "gray": ("png",), "json": ("png",), "txt": ("png",)}


@pytest.mark.parametrize("name", CASES)
def test_records_equal_convert_annoset(name: str, shared: Path) -> None:
    folder = shared / "golden/data"
    case = json.loads((folder / "records.json").read_text())[f"lmdb_{name}"]
    reference = Database(folder / f"lmdb_{name}")
    labels = labels_by_name(read_label_map(folder / "labelmap.prototxt"))
    read = READERS[name if name in READERS else "xml"]
    lines = (folder / case["list"]).read_text().split("\n")[:-1]
    for number, (line, wanted) in enumerate(zip(lines, case["records"], strict=True)):
        entry = ListEntry(*line.split())
        path, file = folder / "voc" / entry.picture, folder / "voc" / entry.annotation
        annotation = read(file, labels) if file.exists() else None
        datum, size = stored(path, CASES[name])
        record = record_of(datum, size, annotation, labels)
        assert record_key(number, entry.picture) == wanted["key"]
        shape = (record.datum.channels, record.datum.height, record.datum.width)
        assert shape == (wanted["channels"], wanted["height"], wanted["width"])
        assert record.datum.encoded == wanted["encoded"]
        assert record.datum.label == wanted["label"] == -1
        assert boxes_of(record) == wanted["annotation_group"]
        raw = not CASES[name].encoded
        if raw or path.suffix[1:] in KEPT.get(name, ()):
            assert sha(record.SerializeToString(deterministic=True)) == wanted["record_sha256"]
        else:
            # Another OpenCV may encode the same pixels in other bytes.
            theirs = reference.record(number)
            np.testing.assert_array_equal(pixels_of(datum), pixels_of(theirs.datum))
            theirs.datum.data = record.datum.data
            assert record == theirs


def record(text: str) -> pb.AnnotatedDatum:
    made = pb.AnnotatedDatum(type=pb.AnnotatedDatum.BBOX)
    made.datum.data, made.datum.encoded = text.encode(), True
    return made


def records(count: int) -> list[tuple[str, pb.AnnotatedDatum]]:
    return [(record_key(i, f"{i}.jpg"), record(f"picture {i}")) for i in range(count)]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_database(tmp_path / "db", records(1234))  # more than one commit
    database = Database(tmp_path / "db")
    assert len(database) == 1234
    assert [(database.key(i), database.record(i)) for i in range(1234)] == records(1234)
    assert os.listdir(tmp_path) == ["db"]


def test_same_records_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_database(tmp_path / name, records(300))
    first, second = (sha((tmp_path / name / "data.mdb").read_bytes()) for name in ("a", "b"))
    assert first == second


def test_rewriting_replaces_also_for_a_process_that_has_it_open(tmp_path: Path) -> None:
    write_database(tmp_path / "db", records(5))
    old = Database(tmp_path / "db")
    write_database(tmp_path / "db", records(7))
    assert (len(old), len(Database(tmp_path / "db"))) == (5, 7)
    assert old.record(4) == record("picture 4")


def test_a_failure_leaves_the_old_database(tmp_path: Path) -> None:
    write_database(tmp_path / "db", records(5))

    def failing() -> Any:
        yield from records(2)
        raise UserError("no more")

    with pytest.raises(UserError, match="no more"):
        write_database(tmp_path / "db", failing())
    assert len(Database(tmp_path / "db")) == 5
    assert os.listdir(tmp_path) == ["db"]


def test_threads_share_a_database(tmp_path: Path) -> None:
    write_database(tmp_path / "db", records(200))
    database, again = Database(tmp_path / "db"), Database(tmp_path / "db")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: (database, again)[i % 2].record(i), range(200)))
    assert found == [made for _, made in records(200)]


def test_a_thread_may_let_go_of_a_database_while_another_opens_it(tmp_path: Path) -> None:
    write_database(tmp_path / "db", records(3))
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: Database(tmp_path / "db").key(2), range(2000)))
    finally:
        sys.setswitchinterval(usual)
    assert set(found) == {records(3)[2][0]}


def _in_child(database: Database, queue: Any) -> None:
    queue.put(database.record(3).datum.data)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_reads_too(tmp_path: Path) -> None:
    write_database(tmp_path / "db", records(5))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(Database(tmp_path / "db"), queue))
    child.start()
    assert queue.get(timeout=20) == b"picture 3"
    child.join(20)
    assert child.exitcode == 0


def test_bad_folders_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing: no LMDB here"):
        Database(tmp_path / "nothing")
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk/data.mdb").write_bytes(b"this is no LMDB" * 1000)
    with pytest.raises(UserError, match="junk: not a readable LMDB"):
        Database(tmp_path / "junk")
    write_database(tmp_path / "empty", [])
    with pytest.raises(UserError, match="empty: this LMDB holds no record"):
        Database(tmp_path / "empty")


def test_a_corrupt_record_is_named(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path / "db"), lock=False) as made, made.begin(write=True) as writing:
        writing.put(b"00000000_a.jpg", b"\xff\xff")
        writing.put(b"00000001_b.jpg", b"")
    database = Database(tmp_path / "db")
    with pytest.raises(UserError, match=r"record '00000000_a\.jpg'"):
        database.record(0)
    with pytest.raises(UserError, match=r"record '00000001_b\.jpg' holds no picture"):
        database.record(1)
