"""Rules about the loss, the detections and their classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from scratchdet_caffe.analysis.lint.rules import ERROR, NOTE, WARNING, Hit, net_rule
from scratchdet_caffe.analysis.lint.subject import Net
from scratchdet_caffe.caffeproto.labelmap import read_label_map
from scratchdet_caffe.errors import UserError


@net_rule(
    "propagate-down",
    ERROR,
    why="Caffe wants a gradient for every bottom that lies behind a convolution, and stops at the "
    "first backward pass: 'MultiBoxLoss Layer cannot backpropagate to prior inputs'",
    do="write propagate_down: true twice, then false for every other bottom",
    known="Caffe's multibox_loss_layer.cpp",
)
def propagate_down(net: Net) -> Iterator[Hit]:
    """A MultiBoxLoss that is asked for gradients of priors, labels or the ARM's predictions."""
    for layer in net.of_type("MultiBoxLoss"):
        goes = list(layer.node.layer.propagate_down)
        asked = [blob for blob, down in zip(layer.node.layer.bottom[2:], goes[2:]) if down]
        if net.trains and not goes:
            yield Hit("has no propagate_down", layer.name)
        elif net.trains and asked:
            yield Hit(f"propagate_down is true for {', '.join(asked)}", layer.name)


@net_rule(
    "loss-term-off",
    WARNING,
    why="that term does not count into the loss any more, and its convolutions do not learn",
    do="write propagate_down: true for boxes and classes",
    known="Caffe's multibox_loss_layer.cpp",
)
def loss_term_off(net: Net) -> Iterator[Hit]:
    """A MultiBoxLoss with propagate_down: false for boxes or classes."""
    for layer in net.of_type("MultiBoxLoss"):
        goes = list(layer.node.layer.propagate_down[:2])
        off = [term for term, down in zip(("boxes", "classes"), goes) if not down]
        if net.trains and off:
            yield Hit(f"propagate_down is false for {' and '.join(off)}", layer.name)


@net_rule(
    "class-count",
    ERROR,
    why="scores of one class are read as another's, without a word",
    do="use one number everywhere: all classes and the background",
    known="Caffe's detection_output_layer.cpp, which compares sizes only",
)
def class_count(net: Net) -> Iterator[Hit]:
    """Layers of one net that count the classes differently."""
    for head in net.heads:
        for index in sorted(head.layers):
            layer = net.view.layers[index]
            dims = list(layer.node.layer.reshape_param.shape.dim)
            if layer.type == "Reshape" and dims[-1:] and dims[-1] not in (-1, 0, head.classes):
                yield Hit(
                    f"groups scores by {dims[-1]}, but the {head.name} head has "
                    f"{head.classes} classes",
                    layer.name,
                )
    for judge in net.of_type("DetectionEvaluate"):
        classes = judge.node.layer.detection_evaluate_param.num_classes
        for maker in (net.view.maker(value) for value in judge.node.bottoms[:1]):
            own = maker.node.layer.detection_output_param.num_classes
            if maker.type == "DetectionOutput" and own != classes:
                yield Hit(f"num_classes is {classes}, but {own} in '{maker.name}'", judge.name)


def label_maps(net: Net) -> dict[str, list[str]]:
    """Return the label map files that ``net`` names, and the layers that do."""
    found: dict[str, list[str]] = {}
    for layer in net.view.layers:
        own = layer.node.layer
        for path in (
            own.annotated_data_param.label_map_file,
            own.detection_output_param.save_output_param.label_map_file,
        ):
            if path:
                found.setdefault(path, []).append(layer.name)
    return found


@net_rule(
    "label-map",
    ERROR,
    why="labels beyond num_classes end the training or are never found",
    do="make num_classes of the loss, the outputs and conf one more than the label map's classes",
    known="sfzhang15/RefineDet#61 and #87 (mis-labelled databases)",
)
def label_map(net: Net) -> Iterator[Hit]:
    """A label map that is wrong, or that has another number of classes than the net."""
    # A head whose map_object_to_agnostic turns every object into one class knows no classes.
    counts = {
        head.classes
        for head in net.heads
        if head.name != "ARM"
        and not head.reader.node.layer.multibox_loss_param.map_object_to_agnostic
    }
    for path, layers in label_maps(net).items():
        if not Path(path).is_file():
            continue
        try:
            items = len(read_label_map(path).item)
        except UserError as error:
            yield Hit(str(error), layers[0])
            continue
        for count in sorted(counts - {items}):
            yield Hit(f"{path} has {items} labels, the net {count} classes", layers[0])


@net_rule(
    "label-map-absent",
    NOTE,
    why="nobody could compare its classes with the net's; Caffe stops where it is not there",
    do="run prepare, or this command from the folder that paths count from",
    known="paths in a prototxt count from the current folder",
)
def label_map_absent(net: Net) -> Iterator[Hit]:
    """A label map file that is not there from the current folder."""
    for path, layers in label_maps(net).items():
        if not Path(path).is_file():
            yield Hit(f"label_map_file '{path}' is not there", layers[0])
