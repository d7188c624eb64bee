"""Samples -> the folder that training reads: label map, lists, sizes, LMDBs.

Everything is read and checked before anything is written under its name: every picture is
decoded, every annotation parsed and held against its picture and the label map.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import format_text, write_prototxt
from scratchdet_caffe.caffeproto.labelmap import labels_by_name, make_label_map
from scratchdet_caffe.data.check import UNKNOWN
from scratchdet_caffe.data.convert import AS_JPEG, Encoding, record_of, stored
from scratchdet_caffe.data.database import append_records, record_key
from scratchdet_caffe.data.examine import (
    Checked,
    CheckedSet,
    check_samples,
    classes_of,
    note_leaks,
)
from scratchdet_caffe.data.parallel import ordered, tracked
from scratchdet_caffe.data.samples import Sample
from scratchdet_caffe.data.workspace import begin, finish, stamp, workspace
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import remove, write_text

NAMED_OFFENDERS = 5
BAD, SKIPPED = "bad.txt", "skipped.txt"


@dataclass(frozen=True)
class Dataset:
    """What makes a data folder.

    Attributes:
        root: What the entries of the samples are relative to.
        train: Training samples; shuffled with ``seed``.
        test: Test samples, kept in order.
        label_map: None takes the classes of the training annotations, sorted.
        seed: Of the training list's order.
        encoding: How pictures are stored.
        notes: What is odd with the list files, each as a kind and a sentence.
    """

    root: Path
    train: Sequence[Sample]
    test: Sequence[Sample]
    label_map: pb.LabelMap | None = None
    seed: int = 0
    encoding: Encoding = AS_JPEG
    notes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Examined:
    """A dataset, checked: its label map, its two lists, and the notes on them."""

    label_map: pb.LabelMap
    train: CheckedSet
    test: CheckedSet
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def faults(self) -> list[str]:
        """What keeps the dataset from being written, phrase by phrase."""
        return [fault for item in (*self.train.items, *self.test.items) for fault in item.faults]


def examine(data: Dataset, folder: Path | None = None) -> Examined:
    """Check both lists of ``data``; ``folder`` is a workspace, where there is one."""
    shuffled = list(data.train)
    random.Random(data.seed).shuffle(shuffled)
    label_map, unknown = data.label_map, UNKNOWN
    if label_map is None:
        # Sorted is also upstream's order of VOC's own twenty classes.
        boxes, complete = classes_of(shuffled)
        label_map = make_label_map(sorted(boxes)) if boxes else pb.LabelMap()
        if complete:
            unknown = "the class occurs only in the test set; mend it, or give --classes"
    labels = labels_by_name(label_map)
    train = check_samples("trainval", data.root, shuffled, labels, unknown, folder)
    test = check_samples("test", data.root, data.test, labels, unknown, folder)
    note_leaks(train, test)
    return Examined(label_map, train, test, data.notes)


def build_dataset(data: Dataset, out: Path, skip_bad: bool = False) -> Examined:
    """Check ``data`` and write the data folder ``out``; a call that was killed is continued.

    Args:
        data: Its lists.
        out: Gets labelmap.prototxt, trainval.txt, test.txt, test_name_size.txt,
            trainval_lmdb/ and test_lmdb/.
        skip_bad: Leave out pictures with faults, and list them in ``skipped.txt``.

    Returns:
        What was written.

    Raises:
        UserError: Something is wrong with a picture or an annotation; the faults are listed in
            ``bad.txt`` and no dataset was written. Or ``out`` cannot be written.
    """
    with workspace(out) as folder:
        done = examine(data, folder)
        for name in (BAD, SKIPPED):
            remove(out / name)
        if done.faults:
            done = _without_bad(done, out) if skip_bad else _stop(done, out)
        labels = labels_by_name(done.label_map)
        if not labels:
            raise UserError(
                f"{data.root}: the training annotations hold no object, so there are no classes; "
                "check the list, or give --labelmap or --classes"
            )
        begin(folder, _job(data, done))
        _write(folder, data, done, labels)
        lists = ["trainval.txt", "test.txt", "test_name_size.txt"]
        finish(folder, out, ["trainval_lmdb", "test_lmdb", *lists, "labelmap.prototxt"])
    return done


def _stop(done: Examined, out: Path) -> Examined:
    faults, pictures = done.faults, len(done.train.items) + len(done.test.items)
    write_text(out / BAD, "".join(f"{fault}\n" for fault in faults))
    more = len(faults) - NAMED_OFFENDERS
    tail = f"; and {more} more" if more > 0 else ""
    raise UserError(
        f"{len(faults)} fault{'s' if len(faults) > 1 else ''} in {pictures} pictures and "
        f"annotations, so no dataset was written: {'; '.join(faults[:NAMED_OFFENDERS])}{tail} "
        f"(all are listed in {out / BAD}; --skip-bad leaves these pictures out)"
    )


def _without_bad(done: Examined, out: Path) -> Examined:
    """Leave out what has faults."""
    write_text(out / SKIPPED, "".join(f"{fault}\n" for fault in done.faults))
    kept = []
    for checked in (done.train, done.test):
        clean = CheckedSet(checked.name, [item for item in checked.items if not item.faults])
        if not clean.items:
            raise UserError(
                f"every picture of the {checked.name} list has a fault: {out / SKIPPED}"
            )
        for item in clean.items:
            if (annotation := item.sample.read()) is not None:
                clean.count(annotation, item.facts.size)
        kept.append(clean)
    return Examined(done.label_map, kept[0], kept[1], done.notes)


def _job(data: Dataset, done: Examined) -> str:
    """Describe all that the written files depend on."""
    described = hashlib.sha256(format_text(done.label_map).encode())
    described.update(json.dumps(asdict(data.encoding)).encode())
    for checked in (done.train, done.test):
        for item in checked.items:
            sample = item.sample
            line = [*asdict(sample.entry).values(), sample.name, item.facts.digest]
            described.update(json.dumps([*line, stamp(sample.file)]).encode())
    return described.hexdigest()


def _write(folder: Path, data: Dataset, done: Examined, labels: Mapping[str, int]) -> None:
    for checked in (done.train, done.test):
        database = folder / f"{checked.name}_lmdb"
        database.mkdir(exist_ok=True)
        items, name = checked.items, checked.name
        append_records(database, partial(_records, data, items, labels, name))
        entries = [item.sample.entry for item in items]
        lines = [f"{entry.picture} {entry.annotation}\n" for entry in entries]
        write_text(folder / f"{name}.txt", "".join(lines))
    rows = [(item.sample.name, *item.facts.size) for item in done.test.items]
    write_text(folder / "test_name_size.txt", "".join(f"{n} {h} {w}\n" for n, h, w in rows))
    write_prototxt(folder / "labelmap.prototxt", done.label_map)


def _records(
    data: Dataset, items: Sequence[Checked], labels: Mapping[str, int], what: str, done: int
) -> Iterator[tuple[str, pb.AnnotatedDatum]]:
    def record(item: Checked) -> pb.AnnotatedDatum:
        path = data.root / item.sample.entry.picture
        datum, size = stored(path, data.encoding, item.facts.size)
        return record_of(datum, size, item.sample.read(), labels)

    pairs = zip(ordered(record, items[done:]), items[done:])
    shown = tracked(pairs, len(items), f"writing {what}", done)
    for number, (made, item) in enumerate(shown, done):
        yield record_key(number, item.sample.entry.picture), made
