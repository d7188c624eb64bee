"""VOC folders and their lists: which pictures make the training and the test set."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from scratchdet_caffe.data.annotation import Annotation
from scratchdet_caffe.data.convert import ListEntry
from scratchdet_caffe.data.samples import Sample, nothing
from scratchdet_caffe.data.voc import read_annotation
from scratchdet_caffe.errors import UserError, nearest
from scratchdet_caffe.files import read_bytes

_CLASS_COLUMN = re.compile(r"\s+(-1|0|1)$")
List = tuple[Path, str]  # a VOC folder, and the name of a list in its ImageSets/Main
VOC_SPLITS = {
    "07": ([("2007", "trainval")], [("2007", "test")]),
    "12": ([("2012", "trainval")], [("2012", "test")]),
    "07+12": ([("2007", "trainval"), ("2012", "trainval")], [("2007", "test")]),
    "07++12": (
        [("2007", "trainval"), ("2007", "test"), ("2012", "trainval")],
        [("2012", "test")],
    ),
}
"""The usual ways to train and test, as years and lists."""
EXTENSIONS = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG", ".bmp")


def voc_folders(root: Path, years: Sequence[str] = ()) -> list[Path]:
    """Return the VOC folders (with JPEGImages, Annotations, ImageSets/Main) at ``root``.

    Args:
        root: A VOC folder itself, or a VOCdevkit that holds some.
        years: Which of VOC<year> to take; by default the folder itself, or VOC2007 and
            VOC2012 as far as they are there, or the only one there is.

    Raises:
        UserError: There is none, or the choice is not clear.
    """
    if years:
        folders = [root / f"VOC{year}" for year in years]
        for folder in folders:
            if not (folder / "JPEGImages").is_dir():
                raise UserError(f"{folder}: no VOC folder here: it needs a JPEGImages")
        return folders
    if (root / "JPEGImages").is_dir():
        return [root]
    found = sorted(path.parent for path in root.glob("*/JPEGImages"))
    usual = [path for path in found if path.name in ("VOC2007", "VOC2012")]
    if usual or len(found) == 1:
        return usual or found
    names = ", ".join(path.name for path in found)
    raise UserError(
        f"{root}: several VOC folders ({names}): give --root one of them"
        if found
        else f"{root}: no VOC folder here: it needs JPEGImages, Annotations and ImageSets/Main, "
        "or folders that have them"
    )


def voc_like(root: Path) -> bool:
    """Tell whether ``root`` looks like a VOC folder or a VOCdevkit."""
    return (root / "JPEGImages").is_dir() or any(root.glob("*/JPEGImages"))


def split_lists(root: Path, split: str) -> tuple[list[List], list[List]]:
    """Return the lists of a word of `VOC_SPLITS` in the VOCdevkit ``root``: to train, to test on.

    Raises:
        UserError: A year's folder is missing.
    """
    train, test = (
        [(voc_folders(root, [year])[0], name) for year, name in lists]
        for lists in VOC_SPLITS[split]
    )
    return train, test


def set_lists(folders: Sequence[Path], train: str, test: str) -> tuple[list[List], list[List]]:
    """Return the lists of set ``train`` of all ``folders``, and of ``test`` of the first with it.

    So VOC07+12 is tested on 2007 alone.
    """
    tested = [folder for folder in folders if _path(folder, test).is_file()] or list(folders)
    return [(folder, train) for folder in folders], [(tested[0], test)]


def voc_samples(root: Path, lists: Sequence[List], test: bool = False) -> list[Sample]:
    """Return the samples of ``lists``, relative to ``root``.

    A picture that is missing on disk gets the name of a JPEG: its reader will say so.

    Args:
        root: The devkit.
        lists: VOC folders in it, each with the name of a list in ImageSets/Main.
        test: Whether they are tested on: then no picture of a list may have an annotation, as
            in VOC2012's test set, which a server scores.

    Raises:
        UserError: A list is missing or empty.
    """
    return [
        sample
        for folder, name in lists
        for sample in _samples(root, folder, read_image_set(_list_of(folder, name)), test)
    ]


def _samples(root: Path, folder: Path, stems: Sequence[str], test: bool) -> list[Sample]:
    inside = folder.relative_to(root)
    annotated = not test or any(_xml(folder, stem).is_file() for stem in stems)
    samples = []
    for stem in stems:
        pictures = (f"{stem}{extension}" for extension in EXTENSIONS)
        there = (file for file in pictures if (folder / "JPEGImages" / file).is_file())
        picture = inside / "JPEGImages" / next(there, f"{stem}.jpg")
        file = _xml(folder, stem)
        entry = ListEntry(picture.as_posix(), (inside / "Annotations" / file.name).as_posix())
        read = _Kept(file) if annotated else nothing
        samples.append(Sample(entry, read, entry.stem, str(file), file))
    return samples


class _Kept:
    """Reads an annotation once and keeps it; it can be sent to another process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: Annotation | None = None

    def __call__(self) -> Annotation:
        if self._read is None:
            self._read = read_annotation(self._path)
        return self._read


def _xml(folder: Path, stem: str) -> Path:
    return folder / "Annotations" / f"{stem}.xml"


def crlf_lists(lists: Sequence[List]) -> list[Path]:
    """Return those of ``lists`` whose lines end in CR LF, over which Caffe's tools fall."""
    paths = (_path(folder, name) for folder, name in lists)
    return [path for path in paths if path.is_file() and b"\r" in path.read_bytes()]


def read_image_set(path: str | os.PathLike[str]) -> list[str]:
    """Return the picture names that an ImageSets/Main list gives, one a line.

    Lists of one class have a second column (1, -1, 0), which is ignored. Names with spaces are
    given as they stand; `check_samples` refuses them.

    Raises:
        UserError: The list is missing or empty.
    """
    lines = read_bytes(path, "list of pictures").decode("utf-8", "replace").split("\n")
    names = [_CLASS_COLUMN.sub("", line.strip()) for line in lines if line.strip()]
    if not names:
        raise UserError(f"{path}: the list is empty: it must name one picture a line")
    return names


def _path(folder: Path, name: str) -> Path:
    return folder / "ImageSets" / "Main" / f"{name}.txt"


def _list_of(folder: Path, name: str) -> Path:
    path = _path(folder, name)
    if not path.is_file():
        known = sorted(entry.stem for entry in path.parent.glob("*.txt"))
        sets = f"; there are: {', '.join(known[:8])}" if known else ""
        raise UserError(f"{path}: no such image set{nearest(name, known)}{sets}")
    return path
