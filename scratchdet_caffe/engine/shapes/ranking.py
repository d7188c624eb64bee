"""Shapes of Accuracy and ArgMax."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.shapes.loss import check_labels
from scratchdet_caffe.engine.shapes.registry import Shape, Spec, arity, axis_of, check, rule


@rule("Accuracy")
def accuracy(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Accuracy: the share of labels among the best ``top_k``, and maybe that of each class."""
    p = layer.accuracy_param
    arity(layer, bottoms, 2)
    axis = axis_of(layer, p.axis, bottoms[0])
    classes = bottoms[0][axis] if bottoms[0] else 1
    check_labels(layer, math.prod(bottoms[0]) // max(classes, 1), bottoms[1])
    check(
        layer,
        1 <= p.top_k <= classes,
        f"top_k must lie between 1 and the number of classes, {classes}, but is {p.top_k}",
    )
    return Spec(tops=((), (classes,)))


@rule("ArgMax")
def argmax(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """ArgMax: the largest values along ``axis``, or over each item."""
    p = layer.argmax_param
    arity(layer, bottoms, 1)
    shape = bottoms[0]
    if p.HasField("axis"):
        axis = axis_of(layer, p.axis, shape)
        values = shape[axis] if shape else 1
        top = (*shape[:axis], p.top_k, *shape[axis + 1 :])
    else:
        check(layer, len(shape) >= 1, "needs a bottom with at least 1 axis")
        values = math.prod(shape[1:])
        # At least three axes: items, index (and value), rank.
        rest = (1,) * max(0, len(shape) - 3)
        top = (shape[0], 2 if p.out_max_val else 1, p.top_k, *rest)
    check(
        layer,
        1 <= p.top_k <= values,
        f"top_k must lie between 1 and the number of values, {values}, but is {p.top_k}",
    )
    return Spec(tops=(top,))
