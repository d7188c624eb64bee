"""A VOC folder -> the folder that training reads: label map, lists, sizes, LMDBs.

Everything is read and checked before anything is written: every picture is decoded, every
annotation parsed and held against its picture and the label map.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import write_prototxt
from scratchdet_caffe.caffeproto.labelmap import labels_by_name, make_label_map
from scratchdet_caffe.data.convert import ListEntry, jpeg_of, picture_size, record_of
from scratchdet_caffe.data.database import record_key, write_database
from scratchdet_caffe.data.folders import tracked
from scratchdet_caffe.data.voc import VocAnnotation, problems_of, read_annotation
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import remove, write_text

NAMED_OFFENDERS = 5


@dataclass
class Item:
    """A line of a list, read: its annotation, its picture's height and width, its faults."""

    entry: ListEntry
    annotation: VocAnnotation = field(default_factory=lambda: VocAnnotation(None, None, ()))
    size: tuple[int, int] = (0, 0)
    faults: list[str] = field(default_factory=list)

    @property
    def without_area(self) -> int:
        """Boxes without area, kept as the reference keeps them; the transform drops them."""
        return sum(item.degenerate for item in self.annotation.objects)


def build_dataset(
    root: Path,
    out: Path,
    trainval: Sequence[ListEntry],
    test: Sequence[ListEntry],
    label_map: pb.LabelMap | None = None,
    seed: int = 0,
) -> tuple[pb.LabelMap, list[Item], list[Item]]:
    """Check both lists of a VOC-layout folder and write the data folder ``out``.

    Args:
        root: What the entries are relative to.
        out: Gets labelmap.prototxt, trainval.txt, test.txt, test_name_size.txt,
            trainval_lmdb/ and test_lmdb/.
        trainval: Training pictures; shuffled with ``seed``.
        test: Test pictures, kept in order.
        label_map: Default: the classes of the training annotations, sorted.
        seed: Of the training list's order.

    Returns:
        The label map, and what was written of either list.

    Raises:
        UserError: Something is wrong with a picture or an annotation, and nothing was written;
            or ``out`` cannot be written.
    """
    shuffled = list(trainval)
    random.Random(seed).shuffle(shuffled)
    train_items, test_items = read_items(root, shuffled, "train"), read_items(root, test, "test")
    unknown = "the class is not in the label map"
    if label_map is None:
        label_map = _found_classes(train_items)
        if not any(item.faults for item in train_items):  # all of them were read
            unknown = "the class occurs only in the test set; mend it, or give --classes"
    labels = labels_by_name(label_map)
    check_items([*train_items, *test_items], labels, root, unknown)
    # Without its label map a folder is no dataset: new databases are never taken for the old's.
    remove(out / "labelmap.prototxt")
    for name, items in (("trainval", train_items), ("test", test_items)):
        write_database(out / f"{name}_lmdb", _records(root, items, labels, name))
        lines = [f"{item.entry.picture} {item.entry.annotation}\n" for item in items]
        write_text(out / f"{name}.txt", "".join(lines))
    sizes = [f"{item.entry.stem} {item.size[0]} {item.size[1]}\n" for item in test_items]
    write_text(out / "test_name_size.txt", "".join(sizes))
    write_prototxt(out / "labelmap.prototxt", label_map)
    return label_map, train_items, test_items


def read_items(root: Path, entries: Sequence[ListEntry], what: str) -> list[Item]:
    """Read annotations and decode pictures, in parallel; faults are noted, not raised."""

    def read(entry: ListEntry) -> Item:
        item = Item(entry)
        if len(entry.picture.split()) > 1:
            item.faults.append(
                f"{root / entry.picture}: a name with spaces, which part the columns of list, "
                "name_size and detection files; rename picture, XML and line of the image set"
            )
            return item
        try:
            item.annotation = read_annotation(root / entry.annotation)
        except UserError as error:
            item.faults.append(str(error))
        try:
            item.size = picture_size(root / entry.picture)
        except UserError as error:
            item.faults.append(str(error))
        return item

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(tracked(pool.map(read, entries), len(entries), f"checking {what}"))


def check_items(items: Sequence[Item], labels: Mapping[str, int], root: Path, unknown: str) -> None:
    """Hold annotations against pictures and label map, and stop if anything is wrong.

    ``unknown`` is what to say of a class without a label.

    Raises:
        UserError: One sentence: how many faults, and the first of them by file.
    """
    for item in items:
        if not item.faults:
            known = labels or {thing.name: 0 for thing in item.annotation.objects}
            where = root / item.entry.annotation
            faults = problems_of(item.annotation, item.size, known, unknown)
            item.faults.extend(f"{where}: {fault}" for fault in faults)
    faults = [fault for item in items for fault in item.faults]
    if faults:
        more = len(faults) - NAMED_OFFENDERS
        tail = f"; and {more} more" if more > 0 else ""
        raise UserError(
            f"{len(faults)} fault{'s' if len(faults) > 1 else ''} in {len(items)} pictures and "
            f"annotations, so nothing was written: {'; '.join(faults[:NAMED_OFFENDERS])}{tail}"
        )
    if not labels:
        raise UserError(
            f"{root}: the training annotations hold no object, so there are no classes; "
            "check the list, or give --labelmap or --classes"
        )


def box_counts(items: Sequence[Item]) -> Counter[str]:
    """Return the number of boxes of each class."""
    return Counter(thing.name for item in items for thing in item.annotation.objects)


def _found_classes(items: Sequence[Item]) -> pb.LabelMap:
    # Sorted is also upstream's order of VOC's own twenty classes.
    names = sorted(box_counts(items))
    return make_label_map(names) if names else pb.LabelMap()


def _records(
    root: Path, items: Sequence[Item], labels: Mapping[str, int], what: str
) -> Iterator[tuple[str, pb.AnnotatedDatum]]:
    for number, item in enumerate(tracked(items, len(items), f"writing {what}")):
        jpeg = jpeg_of(root / item.entry.picture)
        record = record_of(jpeg, item.size, item.annotation, labels)
        yield record_key(number, item.entry.picture), record
