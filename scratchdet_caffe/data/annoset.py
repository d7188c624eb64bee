"""A list of pictures and annotations -> one LMDB, as convert_annoset and get_image_size do."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto.labelmap import labels_by_name, read_label_map
from scratchdet_caffe.data.convert import AS_JPEG, Encoding, ListEntry, record_of, stored
from scratchdet_caffe.data.database import record_key, write_database
from scratchdet_caffe.data.labelfiles import READERS
from scratchdet_caffe.data.parallel import ordered, tracked
from scratchdet_caffe.errors import UserError, nearest
from scratchdet_caffe.files import read_text, write_text


@dataclass(frozen=True)
class AnnoSet:
    """What convert_annoset is told; attributes have the names of its flags.

    Attributes:
        root: Put before each path of the list.
        list_file: Lines ``picture annotation``.
        label_map: A LabelMap prototxt.
        label_type: Of the annotation files: ``xml``, ``json`` or ``txt``.
        encoding: How pictures are stored.
        shuffle: Shuffle the lines with ``seed`` (Caffe's tool: at random).
        check_size: Stop where pictures come out in different sizes.
    """

    root: Path
    list_file: Path
    label_map: Path
    label_type: str = "xml"
    encoding: Encoding = AS_JPEG
    shuffle: bool = False
    seed: int = 0
    check_size: bool = False


def read_list(path: Path) -> list[ListEntry]:
    """Return the lines ``picture annotation`` of the list file ``path``.

    Raises:
        UserError: It cannot be read, is empty, or a line has no two columns.
    """
    entries = []
    for number, line in enumerate(read_text(path, "list").splitlines(), 1):
        columns = line.split()
        if columns and len(columns) != 2:
            raise UserError(f"{path}:{number}: expected 'picture annotation', not '{line.strip()}'")
        if columns:
            entries.append(ListEntry(*columns))
    if not entries:
        raise UserError(f"{path}: the list is empty")
    return entries


def convert(given: AnnoSet, out: Path, name_size: Path | None = None) -> int:
    """Write the LMDB ``out`` of the list, and the lines of get_image_size to ``name_size``.

    As in the reference a missing annotation file gives a record without boxes.

    Returns:
        The number of records.

    Raises:
        UserError: A file cannot be read or written, a class is not in the label map, or with
            ``check_size`` pictures differ in size.
    """
    entries = read_list(given.list_file)
    labels = labels_by_name(read_label_map(given.label_map))
    if given.shuffle:
        random.Random(given.seed).shuffle(entries)
    read = READERS[given.label_type]
    sizes: list[tuple[int, int]] = []

    def record(entry: ListEntry) -> tuple[pb.AnnotatedDatum, tuple[int, int]]:
        file = given.root / entry.annotation
        annotation = read(file, labels) if file.is_file() else None
        for item in annotation.objects if annotation else ():
            if item.name not in labels:
                raise UserError(
                    f"{file}: the class '{item.name}' is not in {given.label_map}"
                    f"{nearest(item.name, labels)}"
                )
        datum, size = stored(given.root / entry.picture, given.encoding)
        return record_of(datum, size, annotation, labels), size

    def records() -> Iterator[tuple[str, pb.AnnotatedDatum]]:
        first = None
        pairs = zip(ordered(record, entries), entries)
        shown = tracked(pairs, len(entries), f"writing {out.name}")
        for number, ((one, size), entry) in enumerate(shown):
            shape = (one.datum.channels, one.datum.height, one.datum.width)
            first = first or shape
            if given.check_size and shape != first:
                raise UserError(
                    f"{given.root / entry.picture}: {shape} (C, H, W), but the first is {first}: "
                    "give a size to resize to, or leave --check-size out"
                )
            sizes.append(size)
            yield record_key(number, entry.picture), one

    write_database(out, records())
    if name_size is not None:
        lines = [f"{e.stem} {height} {width}\n" for e, (height, width) in zip(entries, sizes)]
        write_text(name_size, "".join(lines))
    return len(entries)
