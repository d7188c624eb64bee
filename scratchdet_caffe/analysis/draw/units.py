"""What a box of the drawing stands for: a layer with its activation, or blocks that repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from scratchdet_caffe.analysis.detector import Group
from scratchdet_caffe.analysis.view import LayerView, NetView
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.errors import LayerError
from scratchdet_caffe.engine.shapes import Shape
from scratchdet_caffe.engine.shapes.vision import conv_window

#: Layers that are drawn in the box of the layer that they follow, and what they are called there.
TAGS = {
    "BatchNorm": "BN",
    "Bias": "bias",
    "Dropout": "dropout",
    "ELU": "ELU",
    "Flatten": "flatten",
    "LRN": "LRN",
    "PReLU": "PReLU",
    "Permute": "permute",
    "Power": "power",
    "ReLU": "ReLU",
    "Reshape": "reshape",
    "Scale": "",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "Swish": "swish",
    "TanH": "tanh",
}
#: Boxes that a fold must spare: a pair of equal layers is read more quickly as it is.
_WORTH = 3


@dataclass
class Unit:
    """A box.

    Attributes:
        layers: Its layers, by index, the one that gives it its name first.
        name: The name of that layer.
        type: Its type.
        detail: What it does: ``3x3 conv, 256, /2``.
        tags: What follows it in the box: ``BN``, ``ReLU``.
        group: Where it belongs.
        shape: Shape of its last top.
        below: Units that it reads, by index, in order.
    """

    layers: list[int]
    name: str
    type: str
    detail: str
    group: Group
    shape: Shape | None
    tags: list[str] = field(default_factory=list)
    below: list[int] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The second line of the box."""
        tags = " ".join(tag for tag in self.tags if tag)
        return " · ".join(part for part in (self.detail, tags) if part)


@dataclass(frozen=True)
class Fold:
    """A row of equal blocks of which only the first is drawn.

    Attributes:
        first: The first unit of the first block.
        length: Units of a block.
        count: Blocks.
    """

    first: int
    length: int
    count: int

    @property
    def saved(self) -> int:
        """How many boxes it spares."""
        return self.length * (self.count - 1)

    def drawn(self, unit: int) -> int:
        """Return the unit that is drawn for ``unit``: its like in the first block."""
        place = unit - self.first
        if 0 <= place < self.length * self.count:
            return self.first + place % self.length
        return unit


def drawn_for(unit: int, folds: Sequence[Fold]) -> int:
    """Return the unit that is drawn for ``unit``."""
    for fold in folds:
        unit = fold.drawn(unit)
    return unit


def make_units(view: NetView, groups: Sequence[Group]) -> tuple[list[Unit], dict[int, int]]:
    """Return the boxes of the layers outside the heads, and the box that each value is made in."""
    units: list[Unit] = []
    unit_of: dict[int, int] = {}
    tail: dict[int, int] = {}  # unit -> the value that it ends in so far
    for index, (layer, group) in enumerate(zip(view.layers, groups)):
        if group.part in ("ARM", "ODM", "SSD"):
            continue
        node = layer.node
        before = unit_of.get(node.bottoms[0]) if len(node.bottoms) == 1 else None
        follows = before is not None and tail[before] == node.bottoms[0] and layer.type in TAGS
        if follows and before is not None and units[before].type not in ("Input", "Slice"):
            unit = units[before]
            unit.layers.append(index)
            unit.tags.append(TAGS[layer.type])
        else:
            before = len(units)
            unit = Unit([index], layer.name, layer.type, describe(layer), group, None)
            unit.below = list(dict.fromkeys(unit_of[v] for v in node.bottoms if v in unit_of))
            units.append(unit)
        if node.tops:
            unit.shape = view.shapes[node.tops[-1 if follows else 0]]
            tail[before] = node.tops[0]
        # Labels reach losses and scores only, and would cross the whole picture.
        labels = layer.node.tops[1:] if not node.bottoms else []
        unit_of.update({value: before for value in node.tops if value not in labels})
    return units, unit_of


def describe(layer: LayerView) -> str:
    """Return what ``layer`` does in a few characters."""
    try:
        return f"{layer.type}, refused" if layer.refusal else _describe(layer)
    except LayerError:
        return layer.type


def _describe(layer: LayerView) -> str:
    p, param = layer.node.layer, layer.node.layer.convolution_param
    if layer.type in ("Convolution", "DepthwiseConvolution", "Deconvolution"):
        shape = layer.bottoms[0]
        window = conv_window(p, len(shape) - 2 if shape else 2)
        kind = "deconv" if layer.type == "Deconvolution" else "conv"
        channels = shape[1] if shape else 0
        depthwise = layer.type == "DepthwiseConvolution" or 1 < param.group == channels
        text = f"{_by(window.kernel)} {'depthwise ' * depthwise}{kind}, {param.num_output}"
        text += f" /{_short(window.stride)}" if set(window.stride) != {1} else ""
        text += f", dilation {_short(window.dilation)}" if set(window.dilation) != {1} else ""
        return text + (f", {param.group} groups" if param.group > 1 and not depthwise else "")
    if layer.type == "Pooling":
        pool = p.pooling_param
        method = "max" if pool.pool == pb.PoolingParameter.MAX else "average"
        if pool.global_pooling:
            return f"global {method} pool"
        kernel = (pool.kernel_h, pool.kernel_w) if pool.kernel_h else (pool.kernel_size,) * 2
        stride = (pool.stride_h, pool.stride_w) if pool.stride_h else (pool.stride,) * 2
        return f"{_by(kernel)} {method} pool" + (f" /{_short(stride)}" if stride != (1, 1) else "")
    if layer.type == "InnerProduct":
        return f"fully connected, {p.inner_product_param.num_output}"
    if layer.type == "Eltwise":
        return {0: "product", 1: "sum", 2: "maximum"}[p.eltwise_param.operation]
    return {"Normalize": "L2 normalisation", "Input": "input"}.get(layer.type, layer.type)


def _by(values: Sequence[int]) -> str:
    return "x".join(map(str, values))


def _short(values: Sequence[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else _by(values)


def find_folds(units: Sequence[Unit], tapped: set[int]) -> list[Fold]:
    """Return the rows of equal blocks, each within one map.

    Args:
        units: All units, in order.
        tapped: Units that something outside reads (a head): they stay visible.
    """
    signatures = [_signature(units, place) for place in range(len(units))]
    readers: list[set[int]] = [set() for _ in units]
    for place, unit in enumerate(units):
        for below in unit.below:
            readers[below].add(place)

    def best_at(place: int) -> Fold:
        best = Fold(place, 1, 1)
        for length in range(1, (len(units) - place) // 2 + 1):
            count = _repeats(signatures, place, length)
            if any("/" in unit.detail for unit in units[place : place + length]):
                break  # a stride leads to another map, known or not
            while count > 1 and not _is_closed(readers, tapped, place, length, count):
                count -= 1
            if length * (count - 1) > best.saved:
                best = Fold(place, length, count)
        return best

    folds, place = [], 0
    while place < len(units):
        best = best_at(place)
        if best.saved < _WORTH:
            place += 1
            continue
        # A row of blocks can be cut anywhere; it reads best where each ends in its sum.
        for later in range(place + 1, place + best.length):
            other = best_at(later)
            ends = [units[fold.first + fold.length - 1].type for fold in (best, other)]
            joins = [end in ("Eltwise", "Concat") for end in ends]
            if other.saved >= best.saved and joins == [False, True]:
                best = other
        folds.append(best)
        place = best.first + best.length * best.count
    return folds


def _signature(units: Sequence[Unit], place: int) -> object:
    unit = units[place]
    sources = tuple((place - below, units[below].type) for below in unit.below)
    return unit.type, unit.text, unit.group, sources


def _repeats(signatures: Sequence[object], place: int, length: int) -> int:
    """Return how many equal blocks of ``length`` units begin at ``place``."""
    count, block = 1, signatures[place : place + length]
    while signatures[place + count * length : place + (count + 1) * length] == block:
        count += 1
    return count


def _is_closed(
    readers: Sequence[set[int]], tapped: set[int], place: int, length: int, count: int
) -> bool:
    """Tell whether only the next block reads what a block makes, but for the last one."""
    for block in range(count - 1):
        end = place + (block + 2) * length
        for unit in range(place + block * length, place + (block + 1) * length):
            if unit in tapped or any(reader >= end for reader in readers[unit]):
                return False
    return True
