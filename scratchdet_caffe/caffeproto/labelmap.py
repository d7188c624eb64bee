"""Label maps: the numbers of the classes, as Caffe's LabelMap prototxt."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto.text import read_prototxt
from scratchdet_caffe.errors import UserError

_NO_FILE_NAME = re.compile(r"\.{1,2}|.*[/\x00-\x1f\x7f].*", re.DOTALL)
BACKGROUND_NAMES = ("none_of_the_above", "background")


def make_label_map(classes: Iterable[str]) -> pb.LabelMap:
    """Return the label map of ``classes``: background is 0, the classes follow from 1.

    Raises:
        UserError: A class is empty, given twice, named like the background or no file's name.
    """
    label_map = pb.LabelMap()
    label_map.item.add(name="none_of_the_above", label=0, display_name="background")
    for label, name in enumerate(classes, 1):
        label_map.item.add(name=name, label=label, display_name=name)
    check_label_map(label_map, "class list")
    return label_map


def read_label_map(path: str | os.PathLike[str]) -> pb.LabelMap:
    """Read and check the label map ``path``.

    Raises:
        UserError: No such prototxt, or what `check_label_map` finds.
    """
    label_map = read_prototxt(path, pb.LabelMap)
    check_label_map(label_map, os.fspath(path))
    return label_map


def check_label_map(label_map: pb.LabelMap, source: str) -> None:
    """Check that labels are 0..N, each once, unique names fit for files, 0 the background.

    Detection files are named after classes, by display name where there is one.

    Raises:
        UserError: Naming ``source``, the item and what is wrong with it.
    """
    if len(label_map.item) < 2:
        raise UserError(f"{source}: a label map needs the background (label 0) and a class")
    names: dict[str, int] = {}
    labels: dict[int, str] = {}
    for number, item in enumerate(label_map.item, 1):
        if not item.name or not item.HasField("label"):
            raise UserError(f"{source}: item {number} lacks a {'label' if item.name else 'name'}")
        for name in (item.name, item.display_name):
            if _NO_FILE_NAME.fullmatch(name):
                raise UserError(
                    f"{source}: item {number}: {name!r} cannot name a class: detection files are "
                    "named after classes, so neither '/' nor control characters, '.' or '..'"
                )
        if item.name in names:
            raise UserError(f"{source}: the name '{item.name}' is given twice")
        if item.label in labels:
            first = labels[item.label]
            raise UserError(
                f"{source}: label {item.label} is given to '{first}' and to '{item.name}'"
            )
        names[item.name], labels[item.label] = item.label, item.name
    if labels.get(0) not in BACKGROUND_NAMES:
        found = f"'{labels[0]}'" if 0 in labels else "missing"
        raise UserError(
            f"{source}: label 0 must be the background, 'none_of_the_above' or 'background', "
            f"but it is {found}"
        )
    if wrong := sorted(set(labels) - set(range(len(labels)))):
        raise UserError(
            f"{source}: labels must run from 0 to {len(labels) - 1} without a gap, "
            f"but '{labels[wrong[0]]}' has {wrong[0]}"
        )
    for name in BACKGROUND_NAMES:
        if names.get(name, 0) != 0:
            raise UserError(f"{source}: the background's name '{name}' has label {names[name]}")


def labels_by_name(label_map: pb.LabelMap) -> dict[str, int]:
    """Return ``{name: label}``, background included, in the order of the map."""
    return {item.name: item.label for item in label_map.item}


def class_names(label_map: pb.LabelMap) -> list[str]:
    """Return the display names (or names) of labels 1..N, without the background."""
    items = sorted(label_map.item, key=lambda item: item.label)
    return [item.display_name or item.name for item in items if item.label]
