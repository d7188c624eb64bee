"""COCO folders: which instances file and which folder of pictures make a set.

``train2017``, ``val2017`` and any other NAME stand for ``annotations/instances_NAME.json`` (or
``image_info_NAME.json``). Of 2014 there are also the sets that detectors train and test on:
``minival2014`` is 5000 pictures of val2014, ``valminusminival2014`` the rest, and
``trainval35k`` is train2014 and that rest.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.data.coco import CocoSet, read_instances
from scratchdet_caffe.data.convert import ListEntry
from scratchdet_caffe.data.samples import Sample, nothing
from scratchdet_caffe.errors import UserError, nearest
from scratchdet_caffe.files import read_text

SLACK = 1.0  # pixels that COCO's own boxes reach beyond their pictures, by rounding
SPLITS = {"2014": ("trainval35k", "minival2014"), "2017": ("train2017", "val2017")}
_KINDS = ("instances", "image_info")
_MINIVAL, _REST = "minival2014", "valminusminival2014"


class CocoFolder:
    """A COCO folder; every file in it is read once.

    Args:
        root: Holds ``annotations`` and the pictures.
        minival: Names the pictures of minival2014: a list of names or numbers, or an instances
            file; by default what is found in ``root``.
        pictures: The folder of the pictures, where it is none of the usual.
    """

    def __init__(self, root: Path, minival: Path | None = None, pictures: Path | None = None):
        self.root, self._minival, self._pictures = root, minival, pictures
        self._read: dict[Path, CocoSet] = {}

    def sets(self, name: str) -> list[tuple[CocoSet, list[int], Path]]:
        """Return the parts of set ``name``: a file, the pictures taken of it, their folder.

        ``name`` may also be the path of an instances file.

        Raises:
            UserError: A file or the folder of the pictures is missing.
        """
        if name == "trainval35k":
            return [*self.sets("train2014"), *self.sets(_REST)]
        path = Path(name) if name.endswith(".json") else self._file(name)
        if path is None and name in (_MINIVAL, _REST):
            return [self._part_of_val2014(name)]
        if path is None:
            known = self._known()
            some = f"; there are: {', '.join(known)}" if known else ""
            raise UserError(
                f"{self.root}: no annotations/instances_{name}.json{nearest(name, known)}{some}"
            )
        found = self._instances(path)
        folder = "val2014" if name in (_MINIVAL, _REST) else _set_name(path)
        return [(found, list(range(len(found))), self._folder(found, folder))]

    def samples(self, name: str) -> list[Sample]:
        """Return the samples of set ``name``, each part in the order of its file names."""
        return [
            sample
            for found, places, folder in self.sets(name)
            for sample in _samples(self.root, found, places, folder)
        ]

    def label_map(self, name: str) -> pb.LabelMap:
        """Return the label map of set ``name``."""
        return self.sets(name)[0][0].label_map()

    def _part_of_val2014(self, name: str) -> tuple[CocoSet, list[int], Path]:
        ((found, places, folder),) = self.sets("val2014")
        chosen = self._minival_ids()
        wanted = name == _MINIVAL
        return found, [i for i in places if (int(found.ids[i]) in chosen) == wanted], folder

    def _minival_ids(self) -> set[int]:
        candidates = (
            self._minival,
            self._file(_MINIVAL),
            self.root / "ImageSets" / f"{_MINIVAL}.txt",
            self._file("val2017"),  # the same pictures under another name
        )
        for path in candidates:
            if path is not None and (path == self._minival or path.is_file()):
                if path.suffix == ".json":
                    return set(self._instances(path).ids.tolist())
                return _listed_ids(path)
        raise UserError(
            f"{self.root}: which pictures make {_MINIVAL}? Put instances_{_MINIVAL}.json or "
            f"instances_val2017.json (the same pictures) into annotations/, or {_MINIVAL}.txt into "
            "ImageSets/, or give --minival FILE"
        )

    def _file(self, name: str) -> Path | None:
        paths = (self.root / "annotations" / f"{kind}_{name}.json" for kind in _KINDS)
        return next((path for path in paths if path.is_file()), None)

    def _known(self) -> list[str]:
        found = [path for kind in _KINDS for path in self.root.glob(f"annotations/{kind}_*.json")]
        return sorted(_set_name(path) for path in found)

    def _instances(self, path: Path) -> CocoSet:
        if path not in self._read:
            self._read[path] = read_instances(path)
        return self._read[path]

    def _folder(self, found: CocoSet, name: str) -> Path:
        root, first = self.root, found.file_names[0]
        usual = (root / "images" / name, root / name, root / "images", root / "JPEGImages", root)
        folders = (self._pictures,) if self._pictures else usual
        for folder in folders:
            if any((folder / file).is_file() for file in (first, found.file_names[-1])):
                return folder
        tried = ", ".join(str(folder) for folder in folders)
        raise UserError(f"{found.path}: its pictures (e.g. {first}) are in none of {tried}")


def _samples(root: Path, found: CocoSet, places: Sequence[int], folder: Path) -> list[Sample]:
    inside = PurePosixPath(Path(os.path.relpath(folder, root)).as_posix())
    samples = []
    for index in places:
        picture = (inside / found.file_names[index]).as_posix()
        # The name that SSD-Caffe's split of the file would have; it need not be there.
        split = PurePosixPath("Annotations", folder.name, found.file_names[index])
        entry = ListEntry(picture, split.with_suffix(".json").as_posix())
        read = partial(found.annotation, index) if found.annotated else nothing
        name, path = str(found.ids[index]), Path(found.path)
        where = f"{path}: picture {name} ({found.file_names[index]})"
        samples.append(Sample(entry, read, name, where, path, SLACK))
    return samples


def _set_name(path: Path) -> str:
    name = path.stem
    for kind in _KINDS:
        name = name.removeprefix(f"{kind}_")
    return name


def _listed_ids(path: Path) -> set[int]:
    """Return the numbers in a list of names such as COCO_val2014_000000000042, or of numbers."""
    lines = read_text(path, "list of pictures").split()
    try:
        return {int(line.split("_")[-1].removesuffix(".jpg")) for line in lines}
    except ValueError as error:
        raise UserError(f"{path}: a line is no name or number of a picture: {error}") from error
