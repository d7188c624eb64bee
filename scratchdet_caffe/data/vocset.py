"""VOC folders and their lists: which pictures make the training and the test set."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from scratchdet_caffe.data.convert import ListEntry
from scratchdet_caffe.errors import UserError, nearest
from scratchdet_caffe.files import read_bytes

_CLASS_COLUMN = re.compile(r"\s+(-1|0|1)$")
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


def set_entries(root: Path, folders: Sequence[Path], name: str) -> list[ListEntry]:
    """Return the entries of image set ``name`` of all ``folders``, relative to ``root``.

    A picture that is missing on disk gets the name of a JPEG: its reader will say so.

    Raises:
        UserError: A list is missing or empty.
    """
    entries = []
    for folder in folders:
        inside = folder.relative_to(root)
        for stem in read_image_set(_list_of(folder, name)):
            pictures = (f"{stem}{extension}" for extension in EXTENSIONS)
            there = (file for file in pictures if (folder / "JPEGImages" / file).is_file())
            picture = inside / "JPEGImages" / next(there, f"{stem}.jpg")
            annotation = inside / "Annotations" / f"{stem}.xml"
            entries.append(ListEntry(picture.as_posix(), annotation.as_posix()))
    return entries


def folders_tested(folders: Sequence[Path], name: str) -> list[Path]:
    """Return the first folder that has the set ``name``: VOC07+12 is tested on 2007 alone."""
    with_list = [folder for folder in folders if _path(folder, name).is_file()]
    return with_list[:1] or list(folders[:1])


def read_image_set(path: str | os.PathLike[str]) -> list[str]:
    """Return the picture names that an ImageSets/Main list gives, one a line.

    Lists of one class have a second column (1, -1, 0), which is ignored. Names with spaces are
    given as they stand; `read_items` refuses them.

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
