"""The wiring of a net, without tensors: which layers run, what they read, where gradients go.

Blobs are names; values are numbered. An in-place layer writes its blob under the same name but
makes a new value, so every later reader of the blob sees that one (Caffe's rule), while autograd
and shape inference see a plain acyclic graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import upgrade_net
from scratchdet_caffe.engine.errors import LayerError
from scratchdet_caffe.errors import nearest


@dataclass
class Node:
    """One layer of a phase, with the values it reads and makes.

    Attributes:
        layer: The layer's message.
        bottoms: Value numbers read, one per bottom.
        tops: Value numbers made, one per top.
        loss_weights: One per top; 0 where the top is no loss.
        propagate_down: Per bottom, whether a gradient goes there.
    """

    layer: pb.LayerParameter
    bottoms: list[int]
    tops: list[int]
    loss_weights: list[float] = field(default_factory=list)
    propagate_down: list[bool] = field(default_factory=list)


@dataclass
class Graph:
    """A net filtered for one phase and wired.

    Attributes:
        name: The net's name.
        nodes: Layers in the order in which they run.
        blob_of: The blob name of each value number.
        last: The value that a blob name stands for in the end.
        outputs: Blob names that no layer reads, in alphabetical order (Caffe's).
        force_backward: Gradients go everywhere, whatever the layers say.
    """

    name: str
    nodes: list[Node]
    blob_of: list[str]
    last: dict[str, int]
    outputs: list[str]
    force_backward: bool

    def add_value(self, blob: str) -> int:
        """Return the number of a new value, which is what ``blob`` stands for from now on."""
        self.last[blob] = len(self.blob_of)
        self.blob_of.append(blob)
        return self.last[blob]

    def find_outputs(self) -> None:
        """Fill in `outputs`."""
        read = {value for node in self.nodes for value in node.bottoms}
        self.outputs = sorted(blob for blob, value in self.last.items() if value not in read)


def state_meets(rule: pb.NetStateRule, state: pb.NetState) -> bool:
    """Tell whether ``state`` satisfies every condition that ``rule`` names."""
    if rule.HasField("phase") and rule.phase != state.phase:
        return False
    if rule.HasField("min_level") and state.level < rule.min_level:
        return False
    if rule.HasField("max_level") and state.level > rule.max_level:
        return False
    stages = set(state.stage)
    return all(s in stages for s in rule.stage) and not any(s in stages for s in rule.not_stage)


def filter_net(net: pb.NetParameter, state: pb.NetState) -> pb.NetParameter:
    """Return ``net`` with only the layers whose include/exclude rules admit ``state``."""
    out = pb.NetParameter()
    out.CopyFrom(net)
    del out.layer[:]
    for layer in net.layer:
        if layer.include and layer.exclude:
            raise LayerError(layer, "give either include or exclude rules, not both")
        if layer.include:
            kept = any(state_meets(rule, state) for rule in layer.include)
        else:
            kept = not any(state_meets(rule, state) for rule in layer.exclude)
        if kept:
            out.layer.add().CopyFrom(layer)
    return out


def build_graph(
    net: pb.NetParameter,
    phase: int,
    level: int = 0,
    stages: Iterable[str] = (),
    losses: frozenset[str] = frozenset(),
) -> Graph:
    """Filter ``net`` for ``phase`` and wire it.

    Args:
        net: The net, in a present or an old form.
        phase: ``pb.TRAIN`` or ``pb.TEST``.
        level: The level of NetState rules.
        stages: The stages of NetState rules.
        losses: Layer types whose first top has loss weight 1 by default.

    Raises:
        UserError: Old forms that have no present one, unknown bottoms, a top made twice.
    """
    net = upgrade_net(net, f"net '{net.name}'")
    state = pb.NetState()
    state.CopyFrom(net.state)
    state.phase = phase  # type: ignore[assignment]
    state.level = level
    state.stage.extend(stages)
    net = filter_net(net, state)
    graph = Graph(net.name, [], [], {}, [], net.force_backward)
    for layer in net.layer:
        if not layer.HasField("phase"):
            layer.phase = state.phase
        if layer.type in losses and not layer.top:
            # Old nets leave the top of their loss out; Caffe gives it one, so that it counts.
            layer.top.append(f"(automatic {layer.name})")
        node = _connect(layer, graph)
        node.loss_weights = _loss_weights(layer, layer.type in losses)
        graph.nodes.append(node)
    graph.find_outputs()
    return graph


def _connect(layer: pb.LayerParameter, graph: Graph) -> Node:
    bottoms = []
    for i, blob in enumerate(layer.bottom):
        if blob not in graph.last:
            hint = nearest(blob, graph.last)
            raise LayerError(layer, f"unknown bottom blob '{blob}' at index {i}{hint}")
        bottoms.append(graph.last[blob])
    tops = []
    for i, blob in enumerate(layer.top):
        in_place = i < len(layer.bottom) and layer.bottom[i] == blob
        if blob in graph.last and not in_place:
            raise LayerError(layer, f"top blob '{blob}' is already made by another layer")
        tops.append(graph.add_value(blob))
    if layer.propagate_down and len(layer.propagate_down) != len(layer.bottom):
        raise LayerError(
            layer,
            f"propagate_down needs one entry per bottom ({len(layer.bottom)}) or none, "
            f"but has {len(layer.propagate_down)}",
        )
    return Node(layer, bottoms, tops)


def _loss_weights(layer: pb.LayerParameter, is_loss: bool) -> list[float]:
    count = len(layer.top)
    if layer.loss_weight:
        if len(layer.loss_weight) != count:
            raise LayerError(layer, f"loss_weight needs one entry per top ({count}) or none at all")
        return list(layer.loss_weight)
    return [1.0 if is_loss and i == 0 else 0.0 for i in range(count)]


def mark_gradients(graph: Graph, learns: Sequence[bool]) -> None:
    """Fill in ``propagate_down`` of every node, by Caffe's rules.

    Args:
        graph: A wired net.
        learns: Per node, whether any of its parameter blobs has a non-zero ``lr_mult``.
    """
    needs = [graph.force_backward] * len(graph.blob_of)
    for node, own in zip(graph.nodes, learns):
        asked = node.layer.propagate_down
        if graph.force_backward or not asked:
            node.propagate_down = [needs[value] for value in node.bottoms]
        else:
            node.propagate_down = list(asked)
        for value in node.tops:
            needs[value] |= own or any(node.propagate_down)
