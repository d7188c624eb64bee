"""COCO's instances files: one JSON for a whole set, indexed into arrays.

msgspec reads only the fields that count, straight into typed rows: a file of the size of
COCO's train2017 takes seconds and a fraction of the memory that `json` and dicts need.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.data.annotation import Annotation, Object
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_bytes


class _Picture(msgspec.Struct, gc=False):
    id: int
    file_name: str
    width: int = 0
    height: int = 0


class _Box(msgspec.Struct, gc=False):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0


class _Category(msgspec.Struct, gc=False):
    id: int
    name: str


class _File(msgspec.Struct):
    images: list[_Picture]
    categories: list[_Category]
    annotations: list[_Box] | None = None


@dataclass(frozen=True)
class CocoSet:
    """An instances file, pictures in the order of their file names.

    Attributes:
        path: The JSON file.
        file_names: Of the pictures, as the file gives them.
        ids: Their numbers ``(N,)``.
        sizes: Height and width ``(N, 2)``, 0 where the file gives none.
        first: Picture i has the boxes ``first[i]`` to ``first[i + 1]``, ``(N + 1,)``.
        boxes: xmin, ymin, xmax, ymax in pixels ``(B, 4)``; in the order of the file per picture.
        categories: Category of each box ``(B,)``.
        crowds: Which boxes stand for a crowd ``(B,)``.
        names: Name by category, by rising number.
        annotated: Whether the file has annotations at all (a server's test set has none).
    """

    path: str
    file_names: list[str]
    ids: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int32]
    first: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float32]
    categories: npt.NDArray[np.int64]
    crowds: npt.NDArray[np.bool_]
    names: dict[int, str]
    annotated: bool

    def __len__(self) -> int:
        return len(self.file_names)

    def annotation(self, index: int) -> Annotation:
        """Return what the file says of picture ``index``.

        As in SSD-Caffe's conversion a class goes by its number, and a crowd is difficult.
        """
        height, width = self.sizes[index].tolist()
        rows = slice(self.first[index], self.first[index + 1])
        objects = tuple(
            Object(str(category), (box[0], box[1], box[2], box[3]), crowd)
            for category, box, crowd in zip(
                self.categories[rows].tolist(),
                self.boxes[rows].tolist(),
                self.crowds[rows].tolist(),
            )
        )
        return Annotation(width or None, height or None, objects)

    def label_map(self) -> pb.LabelMap:
        """Return the label map: labels 1..N by rising category, whose number is the name."""
        label_map = pb.LabelMap()
        label_map.item.add(name="none_of_the_above", label=0, display_name="background")
        for label, (category, name) in enumerate(self.names.items(), 1):
            label_map.item.add(name=str(category), label=label, display_name=name)
        return label_map


def read_instances(path: str | os.PathLike[str]) -> CocoSet:
    """Read and index the instances file ``path``; ``image_info`` files do, too.

    Raises:
        UserError: The file is missing, no JSON, or not of COCO's form; or a box belongs to no
            picture, a category has no name, or two pictures share a number or a name.
    """
    where = os.fspath(path)
    try:
        said = msgspec.json.decode(read_bytes(path, "instances file"), type=_File)
    except msgspec.ValidationError as error:
        raise UserError(f"{where}: not of COCO's form: {error}") from error
    except msgspec.DecodeError as error:
        raise UserError(f"{where}: malformed JSON: {error}") from error
    if not said.images:
        raise UserError(f"{where}: this file names no picture")
    pictures = sorted(said.images, key=lambda picture: picture.file_name)
    place = {picture.id: index for index, picture in enumerate(pictures)}
    if len(place) < len(pictures):
        raise UserError(f"{where}: two pictures have the same id")
    if len({picture.file_name for picture in pictures}) < len(pictures):
        raise UserError(f"{where}: two pictures have the same file_name")
    names = {category.id: category.name for category in sorted(said.categories, key=lambda c: c.id)}
    annotations = said.annotations or []
    for number, box in enumerate(annotations):
        if box.image_id not in place or box.category_id not in names:
            missing = (
                f"image_id {box.image_id} is no picture"
                if box.image_id not in place
                else f"category_id {box.category_id} is no category"
            )
            raise UserError(f"{where}: annotation {number}: {missing} of this file")
    owner = np.array([place[box.image_id] for box in annotations], np.int64)
    order = np.argsort(owner, kind="stable")
    edges = np.array([box.bbox for box in annotations], np.float32).reshape(-1, 4)
    edges[:, 2:] += edges[:, :2]  # in float32, as the reference adds
    categories = np.array([box.category_id for box in annotations], np.int64)
    crowds = np.array([box.iscrowd for box in annotations], np.bool_)
    return CocoSet(
        path=where,
        file_names=[picture.file_name for picture in pictures],
        ids=np.array([picture.id for picture in pictures], np.int64),
        sizes=np.array([(p.height, p.width) for p in pictures], np.int32),
        first=np.searchsorted(owner[order], np.arange(len(pictures) + 1)),
        boxes=edges[order],
        categories=categories[order],
        crowds=crowds[order],
        names=names,
        annotated=said.annotations is not None,
    )
