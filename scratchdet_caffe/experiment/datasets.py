"""Datasets: where the databases are, what the classes are, how many images test.

Known words stand for upstream's folders; any folder that ``prepare`` made is a dataset too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from scratchdet_caffe.caffeproto.labelmap import class_names, read_label_map
from scratchdet_caffe.errors import UserError, nearest
from scratchdet_caffe.experiment.registry import Registry
from scratchdet_caffe.files import read_text


@dataclass(frozen=True)
class Dataset:
    """A prepared dataset; paths are as the nets will name them.

    Attributes:
        name: Part of the job's folder, and a word of a recipe's ``when``.
        classes: Names by label, background first.
        trainval_lmdb: Database to train on.
        test_lmdb: Database to test on.
        label_map: ``LabelMap`` prototxt.
        name_size: Lines ``name height width``, one for each test image.
        test_images: Number of test images.
        results_prefix: How names of result files begin, where nets may write such files;
            ``{size}`` stands for the input's.
        results_format: ``VOC`` or ``COCO``; empty where nets write none.
    """

    name: str
    classes: tuple[str, ...]
    trainval_lmdb: str
    test_lmdb: str
    label_map: str
    name_size: str
    test_images: int
    results_prefix: str = ""
    results_format: str = ""

    @property
    def family(self) -> str:
        """``coco`` for every COCO split, ``voc`` for every VOC year: a word of ``when``."""
        return re.sub(r"[0-9]+(plus)?$", "", self.name)


@dataclass(frozen=True)
class Entry:
    """A word for a dataset; ``find`` looks at the disk only when the dataset is wanted."""

    name: str
    about: str
    find: Callable[[], Dataset]


DATASETS: Registry[Entry] = Registry("dataset")


def find_dataset(word: str) -> Dataset:
    """Return the dataset that ``word`` names: a registered word, or a prepared folder.

    Raises:
        UserError: Neither; or the folder is not complete; or label 0 is not the background.
    """
    if word in DATASETS:
        return DATASETS[word].find()
    if "/" in word or Path(word).is_dir():
        return folder_dataset(word)
    known = [entry.name for entry in DATASETS]
    raise UserError(
        f"unknown dataset '{word}'{nearest(word, known)}; known: {', '.join(known)}, "
        f"or a folder that `prepare` made, such as data/{word}"
    )


def folder_dataset(folder: str) -> Dataset:
    """Return the dataset in ``folder``, which has the pieces that ``prepare`` writes.

    Raises:
        UserError: A piece is missing, or the label map or the list of test images is unusable.
    """
    root = Path(folder)
    label_map, name_size = root / "labelmap.prototxt", root / "test_name_size.txt"
    trainval_lmdb, test_lmdb = root / "trainval_lmdb", root / "test_lmdb"
    pieces = (label_map, trainval_lmdb, test_lmdb, name_size)
    missing = [piece.name for piece in pieces if not piece.exists()]
    if missing:
        what = f"lacks {', '.join(missing)}" if root.is_dir() else "no such folder"
        raise UserError(
            f"{folder}: {what}; make the dataset with `python -m scratchdet_caffe.prepare`"
        )
    images = sum(1 for line in read_text(name_size).splitlines() if line.strip())
    if images == 0:
        raise UserError(f"{name_size}: lists no test image; prepare a test set that is not empty")
    return Dataset(
        name=root.resolve().name,
        classes=("background", *class_names(read_label_map(label_map))),
        trainval_lmdb=trainval_lmdb.as_posix(),
        test_lmdb=test_lmdb.as_posix(),
        label_map=label_map.as_posix(),
        name_size=name_size.as_posix(),
        test_images=images,
    )


def _class_names(name: str) -> list[str]:
    folder = resources.files("scratchdet_caffe.experiment").joinpath("classes")
    return folder.joinpath(f"{name}.txt").read_text(encoding="utf-8").splitlines()


def _voc(name: str, folder: str, test_images: int) -> Dataset:
    return Dataset(
        name=name,
        classes=("background", *_class_names("voc")),
        trainval_lmdb=f"examples/{folder}/{folder}_trainval_lmdb",
        test_lmdb=f"examples/{folder}/{folder}_test_lmdb",
        label_map=f"data/{folder}/labelmap_voc.prototxt",
        name_size=f"data/{folder}/test_name_size.txt",
        test_images=test_images,
        results_prefix="comp4_det_test_",
        results_format="VOC",
    )


def _coco(name: str, train: str, test: str, name_size: str) -> Dataset:
    return Dataset(
        name=name,
        classes=("background", *_class_names("coco")),
        trainval_lmdb=f"examples/coco/coco_{train}_lmdb",
        test_lmdb=f"examples/coco/coco_{test}_lmdb",
        label_map="data/coco/labelmap_coco.prototxt",
        name_size=f"data/coco/{name_size}_name_size.txt",
        test_images=5000,
        results_prefix=f"detections_{test}_ssd{{size}}_results",
        results_format="COCO",
    )


for _entry in (
    Entry(
        "voc0712",
        "VOC 07+12 trainval -> 07 test, 20 classes",
        lambda: _voc("voc0712", "VOC0712", 4952),
    ),
    Entry(
        "voc0712plus",
        "VOC 07 trainval and test, 12 trainval -> 12 test, 20 classes",
        lambda: _voc("voc0712plus", "VOC0712Plus", 10991),
    ),
    Entry(
        "coco",
        "COCO trainval35k -> minival, 80 classes",
        lambda: _coco("coco", "train", "minival", "minival2014"),
    ),
    Entry(
        "coco2017",
        "COCO train2017 -> val2017: the same pictures under the later names",
        lambda: _coco("coco2017", "train2017", "val2017", "val2017"),
    ),
    Entry(
        "shapes",
        "drawn shapes in data/shapes (prepare shapes)",
        lambda: folder_dataset("data/shapes"),
    ),
):
    DATASETS.add(_entry)
