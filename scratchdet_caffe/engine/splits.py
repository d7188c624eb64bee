"""The Split layers that Caffe adds to a net: a copy for each reader of what several read.

Nothing is copied here, but programs, logs and files name these layers and their blobs, and the
gradient of each reader is its own copy's ``diff``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import repeat

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.graph import Graph, Node


def with_splits(graph: Graph) -> Graph:
    """Return ``graph`` with a Split layer behind every value that several layers read.

    A ``loss_weight`` in the prototxt counts as a reader and moves to the first copy (Caffe's
    rule); one that a loss has by default does not.
    """
    uses = Counter(value for node in graph.nodes for value in node.bottoms)
    uses.update(value for node in graph.nodes for value in _weighted(node))
    out = Graph(graph.name, [], [], {}, [], graph.force_backward)
    copies: dict[int, Iterator[int]] = {}  # of each old value: what its readers get, in turn
    for node in graph.nodes:
        layer = pb.LayerParameter()
        layer.CopyFrom(node.layer)
        bottoms = [next(copies[value]) for value in node.bottoms]
        layer.bottom[:] = [out.blob_of[value] for value in bottoms]
        tops = [out.add_value(blob) for blob in layer.top]
        added = Node(layer, bottoms, tops, list(node.loss_weights))
        out.nodes.append(added)
        for i, value in enumerate(node.tops):
            copies[value] = repeat(tops[i])
            if uses[value] > 1:
                split = _split(out, added, i, uses[value])
                copies[value] = iter(split.tops)
                if value in _weighted(node):
                    split.loss_weights[0] = node.loss_weights[i]
                    added.loss_weights[i] = 0.0
                    next(copies[value])
    out.find_outputs()
    return out


def _weighted(node: Node) -> list[int]:
    """The tops of ``node`` to which the prototxt gives a weight."""
    return [value for value, weight in zip(node.tops, node.layer.loss_weight) if weight]


def _split(graph: Graph, maker: Node, index: int, count: int) -> Node:
    """Add a Split layer of ``count`` tops behind top ``index`` of ``maker``."""
    blob = maker.layer.top[index]
    name = f"{blob}_{maker.layer.name}_{index}_split"
    layer = pb.LayerParameter(name=name, type="Split", phase=maker.layer.phase, bottom=[blob])
    layer.top.extend(f"{name}_{i}" for i in range(count))
    tops = [graph.add_value(top) for top in layer.top]
    graph.nodes.append(Node(layer, [maker.tops[index]], tops, [0.0] * count))
    return graph.nodes[-1]
