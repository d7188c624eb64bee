"""Shapes of losses: what they compare must match, and each makes one number."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.shapes.registry import Shape, Spec, arity, axis_of, check, rule


def check_labels(layer: pb.LayerParameter, places: int, labels: Shape) -> None:
    """Check that there is one label for each place that gets a prediction."""
    check(
        layer,
        math.prod(labels) == places,
        f"needs one label for each of {places} predictions, "
        f"but '{layer.bottom[1]}' has shape {labels}",
    )


def _check_items(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> None:
    for shape in bottoms:
        check(layer, len(shape) >= 1, "needs bottoms with at least 1 axis")
        check(
            layer,
            shape[0] == bottoms[0][0],
            f"bottoms differ in their number of items: {bottoms[0]} and {shape}",
        )


def _scalar(bottoms: Sequence[Shape]) -> Spec:
    return Spec(tops=((),), flops=2 * math.prod(bottoms[0]))


@rule("EuclideanLoss", "SmoothL1Loss", "SigmoidCrossEntropyLoss")
def difference(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Two blobs compared value by value."""
    arity(layer, bottoms, 2)
    _check_items(layer, bottoms)
    check(
        layer,
        math.prod(bottoms[0]) == math.prod(bottoms[1]),
        f"bottoms differ in shape: {bottoms[0]} and {bottoms[1]}",
    )
    return _scalar(bottoms)


@rule("HingeLoss", "MultinomialLogisticLoss", "InfogainLoss")
def labelled(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Scores (N, ...) and a label per item; InfogainLoss also takes its matrix."""
    infogain = layer.type == "InfogainLoss"
    arity(layer, bottoms, 2, 3 if infogain else 2)
    _check_items(layer, bottoms[:2])
    check_labels(layer, bottoms[0][0], bottoms[1])
    classes = math.prod(bottoms[0][1:])
    check(layer, classes > 0, f"'{layer.bottom[0]}' of shape {bottoms[0]} has no classes")
    if infogain and len(bottoms) == 3:
        check_matrix(layer, layer.bottom[2], bottoms[2], classes)
    elif infogain:
        check(
            layer,
            bool(layer.infogain_loss_param.source),
            "needs its matrix as a third bottom or as infogain_loss_param.source",
        )
    return _scalar(bottoms)


def check_matrix(layer: pb.LayerParameter, name: str, shape: Shape, classes: int) -> None:
    """Check that an infogain matrix is square, with a row and a column for each class."""
    square = len(shape) >= 2 and shape[-2:] == (classes, classes)
    check(
        layer,
        square and math.prod(shape) == classes**2,
        f"its matrix '{name}' has shape {shape}, but {classes} classes need ({classes}, {classes})",
    )


@rule("ContrastiveLoss")
def contrastive(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """ContrastiveLoss: two blobs (N, C) and whether each pair is alike (N)."""
    arity(layer, bottoms, 3)
    _check_items(layer, bottoms)
    a, b, alike = bottoms
    flat = all(len(shape) >= 2 and math.prod(shape[2:]) == 1 for shape in (a, b))
    check(layer, flat and a[1] == b[1], f"compares vectors (N, C), not {a} and {b}")
    check(layer, math.prod(alike[1:]) == 1, f"'{layer.bottom[2]}' is one number per pair")
    return _scalar(bottoms)


@rule("SoftmaxWithLoss")
def softmax_loss(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """SoftmaxWithLoss: classes along ``axis``, one label for each place of the other axes.

    Caffe declares a second top, but refuses every net that has one; so there is only one.
    """
    arity(layer, bottoms, 2)
    _check_items(layer, bottoms)
    axis = axis_of(layer, layer.softmax_param.axis, bottoms[0])
    check(layer, bottoms[0][axis] > 0, f"'{layer.bottom[0]}' of shape {bottoms[0]} has no classes")
    check_labels(layer, math.prod(bottoms[0]) // bottoms[0][axis], bottoms[1])
    return Spec(tops=((),), flops=4 * math.prod(bottoms[0]))
