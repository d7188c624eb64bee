"""Ground truth of an image set: a folder that ``prepare`` made, a VOC folder, COCO's instances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto.labelmap import class_names, read_label_map
from scratchdet_caffe.caffeproto.namesize import read_name_size
from scratchdet_caffe.data.annotation import Annotation
from scratchdet_caffe.data.database import Database
from scratchdet_caffe.data.pixels import Pixels, decode, pixels_of
from scratchdet_caffe.data.sources import Records
from scratchdet_caffe.data.transform import rows_of
from scratchdet_caffe.data.vocset import set_lists, voc_folders, voc_samples
from scratchdet_caffe.errors import UserError, nearest
from scratchdet_caffe.files import read_bytes
from scratchdet_caffe.metrics import ImageResult, Results, read_instances, results_of
from scratchdet_caffe.metrics.coco_files import default_image_ids

Floats = npt.NDArray[np.float64]
NOTHING = np.empty((0, 6))


@dataclass(frozen=True)
class GroundTruth:
    """What is there.

    Attributes:
        results: The image set, without detections.
        image_ids: Id of each image in COCO's files.
        category_ids: Id of each class, without the background, in COCO's files.
        instances: COCO's JSON, if it was read from that.
        pixels: Returns the picture of an image, by its number; None where there are none.
        coco: Whether the set is COCO's.
    """

    results: Results
    image_ids: Sequence[Any]
    category_ids: Sequence[Any]
    instances: dict[str, Any] | None = None
    pixels: Callable[[int], Pixels] | None = None
    coco: bool = False


def read_ground_truth(
    path: Path, image_set: str = "test", classes: Sequence[str] = (), pictures: Path | None = None
) -> GroundTruth:
    """Read what is at ``path``.

    Args:
        path: A folder that ``prepare`` made; a VOC folder or VOCdevkit; or COCO's instances JSON.
        image_set: Which set of a VOC folder.
        classes: Names of the classes of a VOC folder; by default those that its annotations and
            the lists of its classes name, sorted.
        pictures: Where the pictures of COCO's instances lie.

    Raises:
        UserError: It is nothing of that kind, or something in it is missing or damaged.
    """
    if path.is_file():
        return _coco(path, pictures)
    if (path / "labelmap.prototxt").is_file():
        return _prepared(path)
    if path.is_dir():
        return _voc(path, image_set, classes)
    raise UserError(
        f"{path}: no ground truth here: give a folder that prepare made, a VOC folder, or "
        "COCO's instances JSON"
    )


def category_ids(label_map: pb.LabelMap) -> list[int]:
    """Ids of the classes of a COCO set, whose label map has them for names; else nothing."""
    items = sorted(label_map.item, key=lambda item: item.label)[1:]
    coco = all(item.name.isdecimal() for item in items)
    return [int(item.name) for item in items] if coco else []


FAR = 1e7
"""Pixels beyond which no box reaches: untrained nets predict sides without bound."""


def finite(boxes: Floats) -> Floats:
    """Return boxes in pixels to 1/100, cut where no picture is; what is no number becomes 0."""
    return np.asarray(np.nan_to_num(boxes, nan=0.0).clip(-FAR, FAR).round(2))


def pixel_boxes(boxes: Floats, size: tuple[int, int], coco: bool) -> Floats:
    """Scale normalised boxes ``(K, 4)`` to pixels, 1-based, both ends inside, to 1/100 pixel.

    VOC's boxes were divided by the size with nothing taken off. COCO's begin at 0 and end before
    their last edge.

    Args:
        boxes: xmin, ymin, xmax, ymax within 0 to 1.
        size: Width and height of the picture.
        coco: Whether they are COCO's.
    """
    pixels = boxes * np.array([*size, *size], np.float64)
    if coco:
        pixels[:, :2] += 1
    return finite(pixels)


def _coco(path: Path, pictures: Path | None) -> GroundTruth:
    instances = read_instances(path)
    images = sorted(instances["images"], key=lambda image: image["id"])
    categories = sorted(row["id"] for row in instances["categories"])

    def pixels(number: int) -> Pixels:
        assert pictures is not None
        return read_picture(pictures / str(images[number].get("file_name", "")))

    return GroundTruth(
        results_of(instances, []),
        [image["id"] for image in images],
        categories,
        instances,
        pixels if pictures else None,
        coco=True,
    )


def _prepared(folder: Path) -> GroundTruth:
    sizes, database = folder / "test_name_size.txt", Database(folder / "test_lmdb")
    rows = read_name_size(sizes)
    if len(rows) != len(database):
        raise UserError(
            f"{sizes} lists {len(rows)} images, but {database.path} holds {len(database)}; "
            "prepare both from one list"
        )
    return truth_of_records(database, rows, read_label_map(folder / "labelmap.prototxt"))


def truth_of_records(
    records: Records, rows: Sequence[tuple[str, int, int]], label_map: pb.LabelMap
) -> GroundTruth:
    """Return the ground truth that the records of a data layer hold.

    Args:
        records: The records.
        rows: Name, height and width (pixels) of the picture of each.
        label_map: Names of the labels.

    Raises:
        UserError: A record has an object of another label.
    """
    ids = category_ids(label_map)
    results = Results(("background", *class_names(label_map)))
    for number, (name, height, width) in enumerate(rows):
        there = rows_of(records.record(number)).astype(np.float64)
        labels = there[:, 1]
        if len(labels) and not 0 < labels.min() <= labels.max() < len(results.classes):
            raise UserError(f"image '{name}' has an object of a label that is not in the label map")
        boxes = pixel_boxes(there[:, 3:7], (width, height), bool(ids))
        truth = np.hstack([there[:, [1, 7]], boxes])
        crowd = truth[:, 1].copy() if ids else None
        results.images.append(ImageResult(name, width, height, NOTHING, truth, crowd=crowd))
    return GroundTruth(
        results,
        default_image_ids([name for name, _, _ in rows]),
        ids or range(1, len(results.classes)),
        pixels=lambda number: pixels_of(records.record(number).datum, force_color=True),
        coco=bool(ids),
    )


def _voc(root: Path, image_set: str, classes: Sequence[str]) -> GroundTruth:
    _, tested = set_lists(voc_folders(root), image_set, image_set)
    samples = voc_samples(root, tested)
    annotations = [sample.read() or Annotation(None, None, ()) for sample in samples]
    found = {thing.name for annotation in annotations for thing in annotation.objects}
    lists = (tested[0][0] / "ImageSets" / "Main").glob(f"*_{image_set}.txt")
    listed = {path.stem.removesuffix(f"_{image_set}") for path in lists}
    names = list(classes) or sorted(found | listed)
    label_of = {name: label for label, name in enumerate(names, 1)}
    if len(label_of) < len(names):
        raise UserError(f"one of the classes is given twice: {', '.join(names)}")
    results = Results(("background", *names))
    for sample, annotation in zip(samples, annotations):
        height, width = annotation.height, annotation.width
        if not (height and width):
            height, width = read_picture(root / sample.entry.picture).shape[:2]
        for thing in annotation.objects:
            if thing.name not in label_of:
                raise UserError(
                    f"{sample.where}: class '{thing.name}' is not among the classes"
                    f"{nearest(thing.name, names)}"
                )
            if thing.box[2] < thing.box[0] or thing.box[3] < thing.box[1]:
                raise UserError(f"{sample.where}: a box of '{thing.name}' ends before it begins")
        rows = [[label_of[o.name], o.difficult, *o.box] for o in annotation.objects]
        truth = np.array(rows, np.float64).reshape(-1, 6)
        results.images.append(ImageResult(sample.name, width, height, NOTHING, truth))
    return GroundTruth(
        results,
        default_image_ids([sample.name for sample in samples]),
        range(1, len(names) + 1),
        pixels=lambda number: read_picture(root / samples[number].entry.picture),
    )


def read_picture(path: Path) -> Pixels:
    """Return the picture ``path`` as ``(H, W, 3)``: blue, green, red.

    Raises:
        UserError: The file is missing or cannot be decoded.
    """
    import cv2

    pixels = decode(read_bytes(path, "picture"), cv2.IMREAD_COLOR)
    if pixels is None:
        raise UserError(f"{path}: the picture cannot be decoded")
    return pixels
