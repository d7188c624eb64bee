"""One pass of a TEST net over its image set, through the pycaffe API of either engine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_net
from scratchdet_caffe.caffeproto.labelmap import class_names, read_label_map
from scratchdet_caffe.caffeproto.namesize import read_name_size
from scratchdet_caffe.data.database import Database
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.metrics import DetectionAccumulator, ImageResult, Results


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
    """

    label: str
    detections: str
    evaluation: str | None
    batch: int
    classes: tuple[str, ...]
    images: list[tuple[str, int, int]]
    threshold: float


def read_test_net(path: str | os.PathLike[str]) -> EvaluatedNet:
    """Find in the prototxt at ``path`` what scoring needs to know.

    Raises:
        UserError: A layer is missing, the classes do not match the label map, a file that the
            net names cannot be read, or pictures are not simply stretched to the input.
    """
    net = read_net(path)
    data = _layer(net, path, "AnnotatedData", "no labelled images to score")
    output = _layer(net, path, "DetectionOutput", "it detects nothing")
    evaluations = [layer for layer in net.layer if layer.type == "DetectionEvaluate"]
    evaluate = (evaluations or [pb.LayerParameter()])[0].detection_evaluate_param

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
    classes = ("background", *class_names(read_label_map(label_map)))
    if output.detection_output_param.num_classes != len(classes):
        raise UserError(
            f"{path}: layer '{output.name}' has num_classes "
            f"{output.detection_output_param.num_classes}, but {label_map} has {len(classes)} "
            "labels, the background included"
        )
    name_size = (
        evaluate.name_size_file or output.detection_output_param.save_output_param.name_size_file
    )
    return EvaluatedNet(
        label=data.top[1],
        detections=output.top[0],
        evaluation=evaluations[0].top[0] if evaluations else None,
        batch=data.data_param.batch_size,
        classes=classes,
        images=_images(data.data_param.source, name_size),
        threshold=evaluate.overlap_threshold,
    )


def _layer(
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


def _images(source: str, name_size: str) -> list[tuple[str, int, int]]:
    """Name, width and height of each picture: line n of ``name_size`` is record n."""
    database = Database(source)
    if name_size:
        images = [(name, width, height) for name, height, width in read_name_size(name_size)]
        if len(images) != len(database):
            raise UserError(
                f"{name_size} lists {len(images)} images, but {source} holds {len(database)}; "
                "prepare both from one list"
            )
        return images
    images = []
    for number in range(len(database)):
        datum = database.record(number).datum
        stem = Path(database.key(number).split("_", 1)[-1]).stem
        images.append((stem, datum.width, datum.height))
    return images


def detect(net: Any, test: EvaluatedNet) -> tuple[Results, DetectionAccumulator]:
    """Run ``net`` once over the set.

    Returns:
        What was found beside what is there, boxes in pixels; and the rows of DetectionEvaluate.
        If the last batch wraps around to the first images, their second round is dropped from
        the former and stays in the latter, as in Caffe's own test.

    Raises:
        UserError: A label is not in the label map.
    """
    results, rows = Results(test.classes), DetectionAccumulator()
    for start in _progress(range(0, len(test.images), test.batch)):
        net.forward()
        found = np.array(net.blobs[test.detections].data, np.float64).reshape(-1, 7)
        truth = np.array(net.blobs[test.label].data, np.float64).reshape(-1, 8)
        if test.evaluation:
            rows.add(net.blobs[test.evaluation].data)
        for item, (name, width, height) in enumerate(test.images[start : start + test.batch]):
            mine = found[(found[:, 0] == item) & (found[:, 1] >= 0)]
            there = truth[truth[:, 0] == item]
            if len(there) and there[:, 1].max() >= len(test.classes):
                raise UserError(
                    f"image '{name}' has an object of label {there[:, 1].max():.0f}, but the "
                    f"label map ends at {len(test.classes) - 1}"
                )
            # Normalised boxes came from 1-based pixels divided by the size, nothing taken off.
            scale = np.array([width, height, width, height])
            pixels = np.round(mine[:, 3:] * scale, 2)
            objects = np.round(there[:, 3:7] * scale)
            results.images.append(
                ImageResult(
                    name,
                    width,
                    height,
                    np.hstack([mine[:, 1:3], pixels]),
                    np.hstack([there[:, [1, 7]], objects]),
                )
            )
    return results, rows


def _progress(steps: range) -> Iterable[int]:
    if not sys.stderr.isatty():
        return steps
    from rich.console import Console
    from rich.progress import track

    return track(steps, "scoring", console=Console(stderr=True), transient=True)
