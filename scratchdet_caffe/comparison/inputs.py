"""Arrays for the inputs of a net that has no data layers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.shapes import Shape

Array = npt.NDArray[np.float32]

#: Layers whose second bottom holds class numbers, of as many classes as the first has channels.
_CLASSES = ("SoftmaxWithLoss", "Accuracy", "HingeLoss", "MultinomialLogisticLoss", "InfogainLoss")


def draw_inputs(
    net: pb.NetParameter, given: dict[str, Shape], shapes: dict[str, Shape], seed: int
) -> dict[str, Array]:
    """Return an array for each blob of ``given``, fit for the layers that read it.

    Args:
        net: The net, its blobs each made once.
        given: Shapes of the input blobs.
        shapes: Shapes of all blobs.
        seed: The same seed draws the same numbers.

    Returns:
        Standard normal numbers; class numbers where a loss wants them; boxes (label 1 to
        classes - 1, normalised corners) where MultiBoxLoss wants them.
    """
    arrays = {}
    for number, (blob, shape) in enumerate(given.items()):
        random = np.random.default_rng((seed, number))
        array = random.standard_normal(shape)
        labelled = [layer for layer in net.layer if list(layer.bottom[1:2]) == [blob]]
        boxed = [layer for layer in net.layer if list(layer.bottom[3:4]) == [blob]]
        # Several losses may read one blob (RefineDet's two do): fit for the one that knows least.
        classes = [
            shapes[layer.bottom[0]][layer.softmax_param.axis or 1]
            for layer in labelled
            if layer.type in _CLASSES
        ]
        losses = [layer for layer in boxed if layer.type == "MultiBoxLoss"]
        if classes:
            array = random.integers(0, min(classes), shape).astype(np.float64)
        elif losses:
            known = min(layer.multibox_loss_param.num_classes for layer in losses)
            array = _boxes(random, shape, shapes[losses[0].bottom[0]][0], known)
        arrays[blob] = array.astype(np.float32)
    return arrays


def _boxes(
    random: np.random.Generator, shape: Shape, images: int, classes: int
) -> npt.NDArray[np.float64]:
    """Draw ground truth ``(1, 1, M, 8)``: image, label, instance, four corners, difficult."""
    rows = np.zeros(shape)
    flat = rows.reshape(-1, 8)
    flat[:, 0] = np.sort(np.arange(len(flat)) % images)
    flat[:, 1] = random.integers(1, max(classes, 2), len(flat))
    low = random.uniform(0.0, 0.5, (len(flat), 2))
    flat[:, 3:5], flat[:, 5:7] = low, low + random.uniform(0.2, 0.5, low.shape)
    return rows
