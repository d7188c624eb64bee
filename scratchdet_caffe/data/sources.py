"""Where an AnnotatedData layer's records come from: an LMDB, or a VOC or COCO folder as it is.

Caffe reads LMDBs only; the folders are an extension. Their records are those of the LMDB that
`prepare` makes of them, in the same order: training pictures shuffled with seed 0.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto.labelmap import labels_by_name, read_label_map
from scratchdet_caffe.data.cocoset import SPLITS, CocoFolder
from scratchdet_caffe.data.convert import AS_JPEG, record_of, stored
from scratchdet_caffe.data.database import Database, record_key
from scratchdet_caffe.data.samples import Sample
from scratchdet_caffe.data.vocset import List, set_lists, voc_folders, voc_like, voc_samples
from scratchdet_caffe.errors import UserError, nearest


class Records(Protocol):
    """Annotated pictures by index; it can be sent to another process.

    Attributes:
        path: Of the folder or list, for errors.
    """

    path: Path

    def __len__(self) -> int: ...

    def key(self, index: int) -> str:
        """Return the key of record ``index``, e.g. ``00000000_JPEGImages/000005.jpg``."""

    def where(self, index: int) -> str:
        """Return how errors name record ``index``."""

    def record(self, index: int) -> pb.AnnotatedDatum:
        """Return record ``index``.

        Raises:
            UserError: It cannot be read.
        """


class SampleRecords:
    """Samples of a folder as records.

    Args:
        path: Of the folder or list, for errors.
        root: What the entries of ``samples`` are relative to.
        samples: The pictures, in the order of the records.
        labels: The label map, ``{name: label}``.
    """

    def __init__(
        self, path: Path, root: Path, samples: Sequence[Sample], labels: Mapping[str, int]
    ) -> None:
        self.path, self.root = path, root.absolute()
        self._samples, self._labels = samples, labels

    def __len__(self) -> int:
        return len(self._samples)

    def key(self, index: int) -> str:
        return record_key(index, self._samples[index].entry.picture)

    def where(self, index: int) -> str:
        return f"{self.path}: record '{self.key(index)}'"

    def record(self, index: int) -> pb.AnnotatedDatum:
        sample = self._samples[index]
        annotation = sample.read()
        for item in annotation.objects if annotation else ():
            if item.name not in self._labels:
                hint = nearest(item.name, self._labels)
                raise UserError(f"the class '{item.name}' is not in the label map{hint}")
        said = (annotation.height, annotation.width) if annotation else (None, None)
        size = (said[0], said[1]) if said[0] and said[1] else None
        datum, size = stored(self.root / sample.entry.picture, AS_JPEG, size)
        return record_of(datum, size, annotation, self._labels)


def open_records(layer: pb.LayerParameter, phase: int) -> Records:
    """Open what ``data_param.source`` of ``layer`` names.

    That is an LMDB; a VOC folder or VOCdevkit, or a list in its ImageSets/Main; a COCO folder,
    or an instances file in its annotations. A folder stands for its training set in the phase
    TRAIN and for its test set in TEST.

    Raises:
        UserError: It is none of these, or something in it is missing; or VOC's label map is.
    """
    path = Path(layer.data_param.source)
    train = phase == pb.TRAIN
    if (path / "data.mdb").is_file():
        return Database(path)
    file = layer.annotated_data_param.label_map_file
    labels = labels_by_name(read_label_map(file)) if file else {}
    if (voc := _voc_lists(path, train)) is not None:
        if not labels:
            raise UserError(
                f"layer '{layer.name}': {path} is a VOC folder, whose classes have no numbers: "
                "give annotated_data_param.label_map_file"
            )
        root, lists = voc
        return _ordered(path, root, voc_samples(root, lists, not train), labels, train)
    if (coco := _coco_set(path, train)) is not None:
        folder, name = coco
        labels = labels or labels_by_name(folder.label_map(name))
        return _ordered(path, folder.root, folder.samples(name), labels, train)
    return Database(path)


def _ordered(
    path: Path, root: Path, samples: list[Sample], labels: Mapping[str, int], train: bool
) -> SampleRecords:
    if train:
        random.Random(0).shuffle(samples)
    return SampleRecords(path, root, samples, labels)


def _voc_lists(path: Path, train: bool) -> tuple[Path, list[List]] | None:
    """Return the devkit and its lists that ``path`` stands for, if it is VOC's."""
    if path.suffix == ".txt" and path.parent.name == "Main" and path.is_file():
        folder = path.parents[2]
        return folder, [(folder, path.stem)]
    if not voc_like(path):
        return None
    lists = set_lists(voc_folders(path), "trainval", "test")
    return path, lists[0] if train else lists[1]


def _coco_set(path: Path, train: bool) -> tuple[CocoFolder, str] | None:
    """Return the folder and the set that ``path`` stands for, if it is COCO's."""
    if path.suffix == ".json" and path.is_file():
        return CocoFolder(path.absolute().parents[1]), str(path.absolute())
    if not (path / "annotations").is_dir():
        return None
    year = "2017" if any(path.glob("annotations/*_train2017.json")) else "2014"
    return CocoFolder(path), SPLITS[year][not train]
