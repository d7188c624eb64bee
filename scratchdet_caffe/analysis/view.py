"""A net as its readers see it: wired for one phase, with every shape that can be known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.errors import LayerError
from scratchdet_caffe.engine.graph import Graph, Node, build_graph, state_meets
from scratchdet_caffe.engine.shapes import Shape, Spec, known_types
from scratchdet_caffe.engine.shapes.registry import spec_of
from scratchdet_caffe.errors import UserError, nearest

#: Types whose first top counts into the loss unless ``loss_weight`` says otherwise.
LOSSES = frozenset(name for name in known_types() if "Loss" in name)
#: Layers whose tops only a file, a database or a program outside knows.
_OUTSIDE = frozenset({"HDF5Data", "VideoData", "WindowData"})


@dataclass(frozen=True)
class LayerView:
    """One layer of a `NetView`.

    Attributes:
        node: The layer's message, the values it reads and makes.
        bottoms: Shape of each bottom; None where it is not known.
        spec: Tops, parameters and FLOPs; None where they are not known.
        refusal: Why the layer cannot take its bottoms; empty if it can, or if nobody knows.
    """

    node: Node
    bottoms: tuple[Shape | None, ...]
    spec: Spec | None
    refusal: str = ""

    @property
    def name(self) -> str:
        return self.node.layer.name

    @property
    def type(self) -> str:
        return self.node.layer.type


@dataclass(frozen=True)
class NetView:
    """A net for one phase.

    Attributes:
        source: What the net is called in messages, usually its file.
        net: The whole net, in the present format.
        phase: ``pb.TRAIN`` or ``pb.TEST``.
        graph: The layers of that phase, wired.
        layers: The same layers with shapes, in order.
        shapes: Shape of each value of the graph; None where it is not known.
        unknown: Why shapes are not known, a sentence for each layer where that begins.
    """

    source: str
    net: pb.NetParameter
    phase: int
    graph: Graph
    layers: tuple[LayerView, ...]
    shapes: tuple[Shape | None, ...]
    unknown: tuple[str, ...]
    makers: dict[int, int] = field(repr=False)
    readers: dict[int, list[int]] = field(repr=False)

    def maker(self, value: int) -> LayerView:
        """Return the layer that makes ``value``."""
        return self.layers[self.makers[value]]

    def readers_of(self, value: int) -> list[LayerView]:
        """Return the layers that read ``value``, in order."""
        return [self.layers[index] for index in self.readers.get(value, [])]

    @property
    def phase_name(self) -> str:
        return pb.Phase.Name(self.phase)


def view_net(
    net: pb.NetParameter,
    source: str,
    phase: int | None = None,
    stages: Iterable[str] = (),
    inputs: Mapping[str, Shape] | None = None,
) -> NetView:
    """Wire ``net`` and infer its shapes as far as they can be known.

    Args:
        net: A net in the present format (see `read_net`).
        source: What to call it in messages, usually its file.
        phase: ``pb.TRAIN`` or ``pb.TEST``; None for the phase that the net is made for (of two,
            the first that can be wired).
        stages: The stages of NetState rules.
        inputs: Shapes of input blobs that the net does not tell, or others than it tells.

    Raises:
        UserError: The net cannot be wired in this phase, or has no input of such a name.
    """
    phases = natural_phases(net) if phase is None else [phase]
    refusal: UserError | None = None
    for phase in phases:
        try:
            graph = build_graph(net, phase, stages=stages, losses=LOSSES)
        except LayerError as error:
            hint = _missing_maker(net, phase, stages, str(error))
            refusal = refusal or UserError(f"{source}: {error}{hint}")
            continue
        return _infer(net, source, phase, graph, _checked(inputs or {}, graph, source))
    assert refusal
    raise refusal


def natural_phases(net: pb.NetParameter) -> list[int]:
    """Return the phases that ``net`` is made for, TEST first.

    Those are the phases that its rules name and in which it has an input. A net without phase
    rules is one to train if it has a loss, else one to test (or deploy).
    """
    named = {
        rule.phase
        for layer in net.layer
        for rule in (*layer.include, *layer.exclude)
        if rule.HasField("phase")
    }
    if any(rule.HasField("phase") for layer in net.layer for rule in layer.exclude):
        named = {pb.TRAIN, pb.TEST}
    if not named:
        has_loss = any(layer.type in LOSSES for layer in net.layer)
        return [pb.TRAIN if has_loss else pb.TEST]
    fed = {phase for phase in named if any(_feeds(layer, phase) for layer in net.layer)}
    return sorted(fed or named, reverse=True)


def _feeds(layer: pb.LayerParameter, phase: int) -> bool:
    """Tell whether ``layer`` is an input in ``phase``, whatever its stages."""
    asked = [rule.phase for rule in layer.include if rule.HasField("phase")]
    barred = [rule.phase for rule in layer.exclude if rule.HasField("phase")]
    there = phase in asked if asked else phase not in barred
    return there and not layer.bottom and bool(layer.top)


def _missing_maker(net: pb.NetParameter, phase: int, stages: Iterable[str], sentence: str) -> str:
    """Say which layer would make the bottom that ``sentence`` misses, and when."""
    state = pb.NetState(stage=list(stages))
    state.phase = phase  # type: ignore[assignment]
    for layer in net.layer:
        left_out = layer.include and not any(state_meets(rule, state) for rule in layer.include)
        if left_out and any(f"bottom blob '{top}' " in sentence for top in layer.top):
            rule = layer.include[0]
            asked = [f"--phase {pb.Phase.Name(rule.phase)}"] if rule.HasField("phase") else []
            asked += [f"--stage {stage}" for stage in rule.stage]
            if asked:
                return f"; layer '{layer.name}' makes it with {' '.join(asked)}"
    return ""


def _checked(inputs: Mapping[str, Shape], graph: Graph, source: str) -> Mapping[str, Shape]:
    """Check that every one of ``inputs`` is a blob of the net."""
    for blob in inputs:
        if blob not in graph.last:
            made = [graph.blob_of[v] for node in graph.nodes if not node.bottoms for v in node.tops]
            raise UserError(
                f"{source}: no blob '{blob}'{nearest(blob, graph.last)}; "
                f"inputs: {', '.join(made) or 'none'}"
            )
    return inputs


def _infer(
    net: pb.NetParameter, source: str, phase: int, graph: Graph, inputs: Mapping[str, Shape]
) -> NetView:
    shapes: list[Shape | None] = [None] * len(graph.blob_of)
    layers, unknown = [], []
    makers: dict[int, int] = {}
    readers: dict[int, list[int]] = {}
    for index, node in enumerate(graph.nodes):
        for value in node.bottoms:
            readers.setdefault(value, []).append(index)
        view, reason = _view_layer(node, tuple(shapes[value] for value in node.bottoms))
        layers.append(view)
        tops = _tops(view, [graph.blob_of[value] for value in node.tops], inputs)
        for value, shape in zip(node.tops, tops):
            makers[value] = index
            shapes[value] = shape
        if reason and None in tops:
            unknown.append(reason)
    return NetView(
        source, net, phase, graph, tuple(layers), tuple(shapes), tuple(unknown), makers, readers
    )


def _view_layer(node: Node, bottoms: tuple[Shape | None, ...]) -> tuple[LayerView, str]:
    """Return the view of a layer, and why its tops are not known if that begins with it."""
    layer = node.layer
    known = [shape for shape in bottoms if shape is not None]
    if layer.type not in known_types():
        return LayerView(node, bottoms, None), _ask(layer)
    if len(known) < len(bottoms):
        return LayerView(node, bottoms, None), ""
    try:
        spec = spec_of(layer, known)
    except LayerError as error:
        if layer.type in _OUTSIDE:
            return LayerView(node, bottoms, None), _ask(layer)
        return LayerView(node, bottoms, None, str(error)), str(error)
    outside = layer.type in _OUTSIDE or not all(map(all, spec.tops))
    return LayerView(node, bottoms, spec), _ask(layer) if outside else ""


def _tops(view: LayerView, blobs: list[str], inputs: Mapping[str, Shape]) -> list[Shape | None]:
    """Return the shape of each top: as given in ``inputs``, else as inferred, else None."""
    inferred = list(view.spec.tops) if view.spec else [None] * len(blobs)
    if view.type in _OUTSIDE:
        inferred = [None] * len(blobs)
    in_place = set(view.node.layer.bottom)
    given = {blob: tuple(inputs[blob]) for blob in blobs if blob in inputs and blob not in in_place}
    shapes: list[Shape | None] = []
    for blob, shape in zip(blobs, inferred):
        if blob in given:
            shapes.append(given[blob])
        elif shape is None or not all(shape):
            shapes.append(None)
        else:
            # Labels follow the pictures into another batch size.
            batch = {new[0] for name, new in given.items() if inferred[blobs.index(name)]}
            follows = len(shape) == 1 and len(batch) == 1
            shapes.append((batch.pop(), *shape[1:]) if follows else shape)
    return shapes


def _ask(layer: pb.LayerParameter) -> str:
    who = "its data knows" if layer.type in known_types() else f"a {layer.type} layer knows"
    return (
        f"layer '{layer.name}' ({layer.type}): only {who} the shape of '{layer.top[0]}'; "
        f"give it with --input {layer.top[0]}=N,C,H,W"
        if layer.top
        else f"layer '{layer.name}' ({layer.type}): of a type that is not known here"
    )
