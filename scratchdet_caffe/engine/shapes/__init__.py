"""Shape inference without torch: one rule per layer type, one file per family."""

from __future__ import annotations

import importlib
import math
import pkgutil
from dataclasses import dataclass

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.graph import build_graph
from scratchdet_caffe.engine.shapes.registry import LayerError, Shape, Spec, known_types, spec_of

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")  # registers its rules

__all__ = ["LayerError", "LayerShapes", "NetShapes", "Shape", "Spec", "infer", "known_types"]


@dataclass(frozen=True)
class LayerShapes:
    """Shapes of one layer: its tops, its parameter blobs, and the FLOPs of one forward."""

    name: str
    type: str
    tops: tuple[Shape, ...]
    params: tuple[Shape, ...]
    flops: int


@dataclass(frozen=True)
class NetShapes:
    """Shapes of a net: of every blob by name, and layer by layer."""

    blobs: dict[str, Shape]
    layers: list[LayerShapes]

    @property
    def parameters(self) -> int:
        """Numbers that are learned; BatchNorm's blobs are statistics, not parameters."""
        learned = (layer.params for layer in self.layers if layer.type != "BatchNorm")
        return sum(math.prod(shape) for params in learned for shape in params)

    @property
    def flops(self) -> int:
        """FLOPs of one forward pass; one multiply-add counts as two."""
        return sum(layer.flops for layer in self.layers)


def infer(net: pb.NetParameter, phase: int, inputs: dict[str, Shape] | None = None) -> NetShapes:
    """Infer the shapes of ``net`` in ``phase``.

    Args:
        net: A net as read from prototxt.
        phase: ``pb.TRAIN`` or ``pb.TEST``.
        inputs: Shapes that override those of the net's inputs, by blob name.

    Raises:
        UserError: The net cannot be wired, or a layer cannot take its bottoms.
    """
    graph = build_graph(net, phase)
    shapes: list[Shape] = [()] * len(graph.blob_of)
    layers = []
    for node in graph.nodes:
        spec = spec_of(node.layer, [shapes[value] for value in node.bottoms])
        for value, shape in zip(node.tops, spec.tops):
            shapes[value] = (inputs or {}).get(graph.blob_of[value], shape)
        tops = tuple(shapes[value] for value in node.tops)
        layers.append(LayerShapes(node.layer.name, node.layer.type, tops, spec.params, spec.flops))
    return NetShapes({blob: shapes[value] for blob, value in graph.last.items()}, layers)
