"""From layers to steps: what is run together, what is not run at all, what is let go when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.graph import Graph, Node
from scratchdet_caffe.engine.layers import Layer
from scratchdet_caffe.engine.layers.common import ReLU, Split
from scratchdet_caffe.engine.layers.data import Input, Source
from scratchdet_caffe.engine.layers.linear import InnerProduct
from scratchdet_caffe.engine.layers.normalization import BatchNorm, BatchNormScale, Scale
from scratchdet_caffe.engine.layers.vision import Convolution

Tops = tuple[Tensor, ...]

# Layers whose backward pass does not read their top.
_REWRITABLE = (Convolution, InnerProduct)


@dataclass(frozen=True)
class Step:
    """One call of the compiled net: values in, values out, values let go afterwards."""

    run: Callable[..., Tops]
    bottoms: tuple[int, ...]
    cut: tuple[bool, ...]  # bottoms into which no gradient may flow; empty if there are none
    tops: tuple[int, ...]
    takes_half: bool  # whether it may compute in the half floats of mixed precision
    layer: pb.LayerParameter  # whose errors it makes
    free: tuple[int, ...] = ()


def compile_steps(
    graph: Graph,
    layers: Sequence[Layer],
    part: range,
    keep: frozenset[int],
    draw: Callable[[Source], Tops],
) -> list[Step]:
    """Turn layers into steps: fuse where nobody looks between, free after the last reader.

    Args:
        graph: The wiring.
        layers: One for each node of ``graph``.
        part: Indices of the layers to run.
        keep: Values that somebody wants to see.
        draw: Runs a data layer.
    """
    readers: dict[int, list[int]] = {}
    for i, node in enumerate(graph.nodes):
        for value in node.bottoms:
            readers.setdefault(value, []).append(i)

    def next_if_private(i: int) -> int | None:
        """The only reader of layer ``i``, if nothing else ever looks at its top."""
        (top,) = graph.nodes[i].tops
        after = readers.get(top, [])
        if len(after) != 1 or top in keep or after[0] not in part:
            return None
        cuts = not all(graph.nodes[after[0]].layer.propagate_down)
        return None if cuts else after[0]

    steps: list[Step] = []
    fused: set[int] = set()
    same: dict[int, int] = {}  # copies that a Split layer need not make
    for i in part:
        node, layer = graph.nodes[i], layers[i]
        if i in fused or isinstance(layer, Input):
            continue
        bottoms = tuple(same.get(value, value) for value in node.bottoms)
        if isinstance(layer, Split) and _is_idle(node, keep):
            same.update(dict.fromkeys(node.tops, bottoms[0]))
            continue
        run: Callable[..., Tops] = layer
        last = i
        if isinstance(layer, BatchNorm) and (j := next_if_private(i)) is not None:
            scale = layers[j]
            if isinstance(scale, Scale) and scale.is_per_channel():
                k = next_if_private(j)
                relu = k is not None and _is_plain_relu(layers[k])
                run, last = BatchNormScale(layer, scale, relu), (k if relu and k else j)
                fused |= {j, last}
        elif type(layer) in _REWRITABLE and len(node.tops) == 1:
            j = next_if_private(i)
            if j is not None and _is_plain_relu(layers[j]):
                run, last = _Rectified(layer), j
                fused.add(j)
        elif isinstance(layer, Source):
            run = partial(draw, layer)
        tops = tuple(graph.nodes[last].tops)
        steps.append(Step(run, bottoms, _cuts(graph, node), tops, layer.takes_half, node.layer))
    return _with_frees(steps, keep)


def _cuts(graph: Graph, node: Node) -> tuple[bool, ...]:
    """Bottoms into which the prototxt lets no gradient flow."""
    asked = list(node.layer.propagate_down)
    if graph.force_backward or all(asked):
        return ()
    return tuple(not goes for goes in asked)


def _is_idle(node: Node, keep: frozenset[int]) -> bool:
    """Whether all readers of a Split layer may as well read its bottom."""
    return not keep.intersection(node.tops) and all(node.layer.propagate_down)


def _with_frees(steps: list[Step], keep: frozenset[int]) -> list[Step]:
    last_use: dict[int, int] = {}
    for i, step in enumerate(steps):
        for value in (*step.bottoms, *step.tops):
            last_use[value] = i
    freed: list[list[int]] = [[] for _ in steps]
    for value, i in last_use.items():
        if value not in keep:
            freed[i].append(value)
    return [replace(step, free=tuple(free)) for step, free in zip(steps, freed)]


class _Rectified:
    """A layer and the ReLU behind it, which writes over the layer's top to save its memory."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer

    def __call__(self, *bottoms: Tensor) -> Tops:
        """Return what the ReLU makes."""
        return (torch.relu_(self.layer(*bottoms)[0]),)


def _is_plain_relu(layer: Layer) -> bool:
    return isinstance(layer, ReLU) and layer.param.relu_param.negative_slope == 0
