"""One pass of a TEST net over its image set, through the pycaffe API of either engine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_net, write_prototxt
from scratchdet_caffe.caffeproto.labelmap import class_names, read_label_map
from scratchdet_caffe.caffeproto.namesize import read_name_size
from scratchdet_caffe.cli import tracked
from scratchdet_caffe.data.pixels import Pixels, pixels_of
from scratchdet_caffe.data.sources import Records, open_records
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.metrics import DetectionAccumulator, ImageResult, Results
from scratchdet_caffe.metrics.coco_files import default_image_ids
from scratchdet_caffe.scoring.truth import (
    GroundTruth,
    category_ids,
    pixel_boxes,
    truth_of_records,
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EvaluatedNet:
    """What the TEST net says about its data, found by layer type.

    Attributes:
        label: Blob of the ground truth, ``(1, 1, M, 8)``.
        detections: Blob of DetectionOutput, ``(1, 1, D, 7)``.
        evaluation: Blob of DetectionEvaluate, ``(1, 1, K, 5)``; None without such a layer.
        batch: Images per forward.
        classes: Names by label, the background first.
        images: Name, width and height (pixels) of each image, in the order of the database.
        threshold: IoU from which on a detection finds an object.
        image_ids: Id of each image in COCO's files.
        category_ids: Id of each class, without the background, in COCO's files.
        coco: Whether the set is COCO's: crowds are marked difficult, pixels are counted from 0.
        count_difficult: Whether the net's own evaluation counts difficult objects.
        in_pixels: Whether it measures overlaps in pixels of the pictures.
        files: Folder and prefix of the files that DetectionOutput writes itself, if it does.
        records: The records of the data layer.
        labels: The label map.
    """

    label: str
    detections: str
    evaluation: str | None
    batch: int
    classes: tuple[str, ...]
    images: list[tuple[str, int, int]]
    threshold: float
    image_ids: Sequence[int]
    category_ids: Sequence[int]
    coco: bool
    count_difficult: bool
    in_pixels: bool
    files: tuple[Path, str] | None
    records: Records
    labels: pb.LabelMap

    @property
    def truth(self) -> GroundTruth:
        """What the records hold."""
        rows = [(name, height, width) for name, width, height in self.images]
        return truth_of_records(self.records, rows, self.labels)

    def pixels(self, number: int) -> Pixels:
        """Return the picture of an image, by its number."""
        return pixels_of(self.records.record(number).datum, force_color=True)


def read_test_net(path: str | os.PathLike[str], batch: int | None = None) -> EvaluatedNet:
    """Find in the prototxt at ``path`` what scoring needs to know.

    Args:
        path: The prototxt.
        batch: Images per forward, if not those of the prototxt; see `open_test_net`.

    Raises:
        UserError: A layer is missing, the classes do not match the label map, a file that the
            net names cannot be read, or pictures are not simply stretched to the input.
    """
    net = read_net(path)
    data = test_layer(net, path, "AnnotatedData", "no labelled images to score")
    output = test_layer(net, path, "DetectionOutput", "it detects nothing")
    evaluations = [layer for layer in net.layer if layer.type == "DetectionEvaluate"]
    evaluate = (evaluations or [pb.LayerParameter()])[0].detection_evaluate_param
    save = output.detection_output_param.save_output_param

    if len(data.top) < 2 or data.data_param.batch_size < 1:
        raise UserError(
            f"{path}: layer '{data.name}' needs two tops (pictures and labels) and a batch_size"
        )
    resize = data.transform_param.resize_param
    if data.transform_param.HasField("resize_param") and resize.resize_mode != resize.WARP:
        raise UserError(
            f"{path}: layer '{data.name}' resizes with another mode than WARP; "
            "only stretched pictures can be scored in pixels"
        )
    label_map = data.annotated_data_param.label_map_file
    if not label_map:
        raise UserError(f"{path}: layer '{data.name}' names no label_map_file")
    labels = read_label_map(label_map)
    classes, ids = ("background", *class_names(labels)), category_ids(labels)
    if output.detection_output_param.num_classes != len(classes):
        raise UserError(
            f"{path}: layer '{output.name}' has num_classes "
            f"{output.detection_output_param.num_classes}, but {label_map} has {len(classes)} "
            "labels, the background included"
        )
    database = open_records(data, pb.TEST)
    images = _images(database, evaluate.name_size_file or save.name_size_file)
    writes = save.output_directory and save.output_format == "VOC"
    return EvaluatedNet(
        label=data.top[1],
        detections=output.top[0],
        evaluation=evaluations[0].top[0] if evaluations else None,
        batch=batch or data.data_param.batch_size,
        classes=classes,
        images=images,
        threshold=evaluate.overlap_threshold,
        image_ids=default_image_ids([name for name, _, _ in images]),
        category_ids=ids or range(1, len(classes)),
        coco=bool(ids),
        count_difficult=evaluate.evaluate_difficult_gt,
        in_pixels=bool(evaluate.name_size_file),
        files=(Path(save.output_directory), save.output_name_prefix) if writes else None,
        records=database,
        labels=labels,
    )


def open_test_net(caffe: Any, model: Path, weights: Path, batch: int | None = None) -> Any:
    """Return the net in its TEST phase, with another batch size if ``batch`` says so.

    Args:
        caffe: A module with pycaffe's API.
        model: Its prototxt.
        weights: Its ``.caffemodel``.
        batch: Images per forward.
    """
    if batch is None:
        return caffe.Net(str(model), str(weights), caffe.TEST)
    net = read_net(model)
    test_layer(
        net, model, "AnnotatedData", "no labelled images to score"
    ).data_param.batch_size = batch
    with tempfile.TemporaryDirectory() as folder:
        changed = Path(folder, "test.prototxt")
        write_prototxt(changed, net)
        return caffe.Net(str(changed), str(weights), caffe.TEST)


def test_layer(
    net: pb.NetParameter, path: str | os.PathLike[str], kind: str, without: str
) -> pb.LayerParameter:
    """The layer of a type, the TEST one if the file serves both phases."""
    found = [layer for layer in net.layer if layer.type == kind]
    in_test = [
        layer for layer in found if not any(rule.phase == pb.TRAIN for rule in layer.include)
    ]
    if not in_test:
        raise UserError(f"{path}: the net has no {kind} layer, so {without}; give a test.prototxt")
    return in_test[0]


def _images(database: Records, name_size: str) -> list[tuple[str, int, int]]:
    """Name, width and height of each picture: line n of ``name_size`` is record n."""
    if name_size:
        images = [(name, width, height) for name, height, width in read_name_size(name_size)]
        if len(images) != len(database):
            raise UserError(
                f"{name_size} lists {len(images)} images, but {database.path} holds "
                f"{len(database)}; prepare both from one list"
            )
        return images
    images = []
    for number in range(len(database)):
        datum = database.record(number).datum
        stem = Path(database.key(number).split("_", 1)[-1]).stem
        images.append((stem, datum.width, datum.height))
    return images


@dataclass(frozen=True)
class Pass:
    """What one pass of a test net gave.

    Attributes:
        results: What was found beside what is there, boxes in pixels, every image once.
        rows: The rows of DetectionEvaluate. If the last batch wraps around to the first images,
            their second round counts here, as in Caffe's own test.
        once: The same without that second round.
    """

    results: Results
    rows: DetectionAccumulator
    once: DetectionAccumulator


def detect(net: Any, test: EvaluatedNet) -> Pass:
    """Run ``net`` once over the set.

    Raises:
        UserError: A label is not in the label map.
    """
    results, rows, once = Results(test.classes), DetectionAccumulator(), DetectionAccumulator()
    steps = range(0, len(test.images), test.batch)
    for start in tracked(steps, "scoring"):
        net.forward()
        found = np.array(net.blobs[test.detections].data, np.float64).reshape(-1, 7)
        truth = np.array(net.blobs[test.label].data, np.float64).reshape(-1, 8)
        if test.evaluation:
            judged = np.array(net.blobs[test.evaluation].data, np.float64).reshape(-1, 5)
            rows.add(judged)
            once.add(_first_images(judged, truth, len(test.images) - start, test.count_difficult))
        for item, (name, width, height) in enumerate(test.images[start : start + test.batch]):
            mine = found[(found[:, 0] == item) & (found[:, 1] >= 0)]
            there = truth[truth[:, 0] == item]
            if len(there) and there[:, 1].max() >= len(test.classes):
                raise UserError(
                    f"image '{name}' has an object of label {there[:, 1].max():.0f}, but the "
                    f"label map ends at {len(test.classes) - 1}"
                )
            size = (width, height)
            results.images.append(
                ImageResult(
                    name,
                    width,
                    height,
                    np.hstack([mine[:, 1:3], pixel_boxes(mine[:, 3:], size, test.coco)]),
                    np.hstack([there[:, [1, 7]], pixel_boxes(there[:, 3:7], size, test.coco)]),
                    crowd=there[:, 7].copy() if test.coco else None,
                )
            )
    return Pass(results, rows, once)


def _first_images(judged: Floats, truth: Floats, images: int, count_difficult: bool) -> Floats:
    """The rows ``(K, 5)`` of DetectionEvaluate that the first ``images`` of a batch have."""
    heads = judged[:, 0] == -1
    own = truth[(truth[:, 0] >= 0) & (truth[:, 0] < images)]
    counting = own[(own[:, 7] == 0) | count_difficult]
    rows: Floats = judged.copy()
    rows[heads, 2] = (rows[heads, 1][:, None] == counting[:, 1]).sum(axis=1)
    kept: Floats = rows[heads | (rows[:, 0] < images)]
    return kept
