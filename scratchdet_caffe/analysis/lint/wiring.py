"""Rules about any net: wiring, shapes, gradients, parameters."""

from __future__ import annotations

from collections.abc import Iterator

from scratchdet_caffe.analysis.lint.priors import level_problems
from scratchdet_caffe.analysis.lint.rules import ERROR, WARNING, Hit, file_rule, net_rule
from scratchdet_caffe.analysis.lint.subject import Net
from scratchdet_caffe.analysis.read import NetFile
from scratchdet_caffe.analysis.view import LOSSES, LayerView, natural_phases, view_net
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.shapes import known_types
from scratchdet_caffe.errors import UserError

#: Layers whose tops are there to be looked at.
_SHOWN = LOSSES | {"Accuracy", "ArgMax", "DetectionEvaluate", "DetectionOutput", "Silence"}
#: Layers whose backward pass reads their own top.
_READ_TOP = {"ELU", "Exp", "LRN", "Sigmoid", "Softmax", "TanH"}
_WEIGHTED = {"Convolution", "Deconvolution", "DepthwiseConvolution", "InnerProduct"}


@file_rule(
    "unknown-field",
    ERROR,
    why="Caffe ends with a parse error; the file is made for another Caffe",
    do="correct the field, or train with the Caffe that the file is made for",
    known="the schema of SSD-Caffe and its RefineDet fork",
)
def unknown_field(file: NetFile) -> Iterator[Hit]:
    """A field that SSD-Caffe's schema does not have."""
    if file.dialect:
        yield Hit(file.dialect.removeprefix(f"{file.path}:"))


@file_rule(
    "unwired",
    ERROR,
    why="no Caffe can set the net up",
    do="correct the blob's name, or let a layer make it in this phase",
    known="Caffe's net.cpp and insert_splits.cpp",
)
def unwired(file: NetFile) -> Iterator[Hit]:
    """A bottom that nobody makes, a top that two layers make, rules that contradict each other."""
    staged = any(
        rule.stage or rule.not_stage or rule.HasField("min_level") or rule.HasField("max_level")
        for layer in file.net.layer
        for rule in (*layer.include, *layer.exclude)
    )
    refusals = []
    phases = natural_phases(file.net)
    for phase in phases:
        try:
            view_net(file.net, file.path, phase)
        except UserError as error:
            refusals.append(str(error).removeprefix(f"{file.path}: "))
    # With stages, a phase may exist in some of them only; a solver says in which.
    if not staged or len(refusals) == len(phases):
        for refusal in dict.fromkeys(refusals):
            yield Hit(refusal)


@net_rule(
    "shapes",
    ERROR,
    why="the net cannot be set up",
    do="correct the layer or what it reads",
    known="the checks of Caffe's layers",
)
def shapes(net: Net) -> Iterator[Hit]:
    """A layer that cannot take its bottoms or its parameters."""
    explained = {problem.reader for problem in level_problems(net)}
    for layer in net.view.layers:
        if layer.refusal and layer.name not in explained:
            yield Hit(layer.refusal.partition(": ")[2], layer.name)


@net_rule(
    "unread-top",
    WARNING,
    why="it is computed for nothing, gets no gradient, and every one of its values is an output "
    "that Caffe prints at each display",
    do="remove the layer, read the blob, or feed it to a Silence layer",
    known="Caffe's net.cpp, to which a blob that nobody reads is an output",
)
def unread_top(net: Net) -> Iterator[Hit]:
    """A top that nobody reads and that is no loss, score or detection."""
    view = net.view
    for layer in view.layers:
        for value, weight in zip(layer.node.tops, layer.node.loss_weights):
            shape = view.shapes[value]
            is_map = shape is not None and len(shape) == 4 and shape[2] * shape[3] > 1
            # Outside training an unread blob may be what the net is for.
            wanted = not net.trains and not (is_map and (net.heads or net.data))
            seen = weight or layer.type in _SHOWN or not layer.node.bottoms or wanted
            foreign = layer.type not in known_types()  # perhaps a loss of another Caffe
            if value not in view.readers and not seen and not foreign:
                yield Hit(f"nobody reads its top '{view.graph.blob_of[value]}'", layer.name)


@net_rule(
    "no-gradient",
    WARNING,
    why="the layer never learns: weight decay alone moves its weights, towards 0",
    do="remove it, let a loss depend on it, or say so with lr_mult: 0",
    known="Caffe's net.cpp (layers that contribute to the loss)",
)
def no_gradient(net: Net) -> Iterator[Hit]:
    """A layer with weights that no loss depends on."""
    if not net.trains:
        return
    reached: set[int] = set()
    for index in reversed(range(len(net.view.layers))):
        node = net.view.layers[index].node
        is_end = any(node.loss_weights) or node.layer.type not in known_types()
        if is_end or any(value in reached for value in node.tops):
            goes = node.layer.propagate_down or [True] * len(node.bottoms)
            if node.layer.type == "MultiBoxLoss":  # a term that is off has a rule of its own
                goes = [True, True]
            reached.update(value for value, down in zip(node.bottoms, goes) if down)
    if not reached:
        return
    for layer in net.view.layers:
        rates = [spec.lr_mult for spec in layer.node.layer.param]
        learns = layer.spec is not None and layer.spec.params and layer.type != "BatchNorm"
        if learns and any(rates or [1.0]) and not reached.intersection(layer.node.tops):
            yield Hit("no loss depends on it", layer.name)


@net_rule(
    "no-loss",
    WARNING,
    why="nothing is minimised",
    do="add a loss with an include rule for TRAIN",
    known="Caffe's solver, which runs such a net without a word",
)
def no_loss(net: Net) -> Iterator[Hit]:
    """A training net in which nothing has a loss weight."""
    weights = [any(layer.node.loss_weights) for layer in net.view.layers]
    unknown = any(layer.type not in known_types() for layer in net.view.layers)
    if net.trains and net.data and not any(weights) and not unknown:
        yield Hit("no layer is a loss")


def _in_place(net: Net) -> Iterator[tuple[LayerView, int]]:
    """Yield each layer that writes over a blob that it reads, and the value it reads."""
    names = net.view.graph.blob_of
    for layer in net.view.layers:
        for bottom, top in zip(layer.node.bottoms, layer.node.tops):
            if names[bottom] == names[top]:
                yield layer, bottom


@net_rule(
    "in-place-shared",
    ERROR,
    why="Caffe refuses the net (the blob is 'produced by multiple sources'); the embedded engine "
    "gives both readers what they should have",
    do="give the in-place layer a top of its own",
    known="Caffe's insert_splits.cpp",
)
def in_place_shared(net: Net) -> Iterator[Hit]:
    """A layer that works in place on a blob that another layer reads, too."""
    for layer, bottom in _in_place(net):
        others = [other.name for other in net.view.readers_of(bottom) if other is not layer]
        if others:
            blob = net.view.graph.blob_of[bottom]
            yield Hit(f"works in place on '{blob}', which {_listed(others)} reads", layer.name)


@net_rule(
    "in-place-overwrites",
    WARNING,
    why="Caffe computes a wrong gradient without a word: that layer's backward pass reads its own "
    "top, which is overwritten by then; the embedded engine does not",
    do="give the in-place layer a top of its own",
    known="the backward passes of these layers in Caffe",
)
def in_place_overwrites(net: Net) -> Iterator[Hit]:
    """A layer that works in place on what a layer made that needs it for its gradient."""
    for layer, bottom in _in_place(net):
        maker = net.view.maker(bottom)
        if net.trains and maker.type in _READ_TOP:
            yield Hit(f"works in place on the top of '{maker.name}' ({maker.type})", layer.name)


@net_rule(
    "too-many-params",
    ERROR,
    why="Caffe stops with 'Too many params specified for layer'",
    do="remove the surplus param entries (a convolution without bias has one blob)",
    known="Caffe's net.cpp",
)
def too_many_params(net: Net) -> Iterator[Hit]:
    """More param entries than a layer has blobs."""
    for layer in net.view.layers:
        count = len(layer.node.layer.param)
        blobs = len(layer.spec.params) if layer.spec else count
        if count > blobs:
            yield Hit(f"has {count} param entries for {blobs or 'no'} blobs", layer.name)


@net_rule(
    "same-name",
    WARNING,
    why="weights are loaded by layer name: one layer's go into both, or those of one get lost",
    do="give each layer a name of its own",
    known="Caffe's net.cpp (CopyTrainedLayersFrom)",
)
def same_name(net: Net) -> Iterator[Hit]:
    """Two layers of one name of which one has weights."""
    seen: dict[str, bool] = {}
    for layer in net.view.layers:
        weights = bool(layer.spec and layer.spec.params)
        if layer.name in seen and (weights or seen[layer.name]):
            yield Hit("is the name of another layer, too", layer.name)
        seen[layer.name] = weights or seen.get(layer.name, False)


@net_rule(
    "zero-weights",
    WARNING,
    why="in a row of such layers nothing but zeros flows forward and backward: without weights to "
    "start from, they never learn",
    do="give them a weight_filler (xavier, msra), or start from weights",
    known="FillerParameter's default, a constant 0",
)
def zero_weights(net: Net) -> Iterator[Hit]:
    """Weights that start at zero, in two layers in a row or more."""
    zero = {
        index
        for index, layer in enumerate(net.view.layers)
        if net.trains and layer.type in _WEIGHTED and layer.spec and _starts_at_zero(layer)
    }
    for index in sorted(zero):
        below = _weighted_below(net, index)
        if below and below <= zero:
            yield Hit("its weights and those before it start at 0", net.view.layers[index].name)


def _starts_at_zero(layer: LayerView) -> bool:
    assert layer.spec
    filler = layer.spec.fillers[0] or pb.FillerParameter()
    rates = [spec.lr_mult for spec in layer.node.layer.param[:1]]
    return filler.type == "constant" and filler.value == 0 and any(rates or [1.0])


def _weighted_below(net: Net, index: int) -> set[int]:
    """Return the nearest layers with weights that layer ``index`` depends on."""
    found, waiting = set(), list(net.view.layers[index].node.bottoms)
    while waiting:
        below = net.view.makers[waiting.pop()]
        if net.view.layers[below].type in _WEIGHTED:
            found.add(below)
        else:
            waiting += net.view.layers[below].node.bottoms
    return found


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:3]) + (" and others" if len(names) > 3 else "")
