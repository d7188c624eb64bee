"""What a net holds: shapes, parameters, FLOPs, receptive fields; per layer, stage and in all.

FLOPs are those of one forward pass for one image; a multiply-add counts as two. Parameters that
layers share count once. BatchNorm's blobs are statistics, not parameters: the solver never
learns them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from scratchdet_caffe.analysis.detector import Group, Head, groups, heads
from scratchdet_caffe.analysis.receptive import Field, fields
from scratchdet_caffe.analysis.view import LayerView, NetView
from scratchdet_caffe.engine.shapes import Shape

_CONVOLUTIONS = ("Convolution", "DepthwiseConvolution", "Deconvolution")


@dataclass(frozen=True)
class LayerRow:
    """One layer; None is what cannot be known.

    Attributes:
        name: The layer's name.
        type: The layer's type.
        group: Where it belongs.
        tops: Shape of each top, batch included.
        parameters: Numbers that it learns; 0 where it shares those of an earlier layer.
        statistics: Numbers of a BatchNorm's blobs.
        flops: Of one image.
        multiply_adds: Of one image, in convolutions and inner products only.
        field: What a cell of its first top sees of the input.
    """

    name: str
    type: str
    group: Group
    tops: tuple[Shape | None, ...]
    parameters: int | None
    statistics: int
    flops: float | None
    multiply_adds: float
    field: Field | None


@dataclass(frozen=True)
class SourceRow:
    """One map that a head predicts from.

    Attributes:
        head: ``SSD``, ``ARM`` or ``ODM``.
        blob: Its name.
        shape: Its shape.
        field: What its cells see of the input.
        step: Pixels between prior centres, as the PriorBox layer says; None if it does not.
        sizes: Pixels: min_size and max_size, in turn.
        priors_per_cell: Priors of each of its cells.
        priors: Priors of the map.
    """

    head: str
    blob: str
    shape: Shape | None
    field: Field | None
    step: float | None
    sizes: tuple[float, ...]
    priors_per_cell: int | None
    priors: int | None


@dataclass(frozen=True)
class Total:
    """Sums over layers, as far as they are known."""

    layers: int
    parameters: int
    statistics: int
    flops: float
    multiply_adds: float


@dataclass(frozen=True)
class Summary:
    """Everything about a net in one phase.

    Attributes:
        source: The file.
        name: The net's name.
        phase: ``TRAIN`` or ``TEST``.
        batch: Images of one forward pass.
        layers: All layers, in order.
        sources: The maps that are predicted from; empty if it is no detector.
        unknown: Why some shapes are not known.
    """

    source: str
    name: str
    phase: str
    batch: int
    layers: tuple[LayerRow, ...]
    sources: tuple[SourceRow, ...]
    unknown: tuple[str, ...]

    @property
    def total(self) -> Total:
        return _total(self.layers)

    @property
    def stages(self) -> dict[str, Total]:
        """Totals by stage: the backbone and the TCB by map size, the heads, the outputs."""
        names = dict.fromkeys(str(row.group) for row in self.layers if row.group.part != "input")
        return {
            name: _total(row for row in self.layers if str(row.group) == name) for name in names
        }


def summarise(view: NetView) -> Summary:
    """Summarise ``view``; what its shapes do not tell is None and not in the sums."""
    found = heads(view)
    seen = fields(view)
    batch = _batch(view)
    owned: set[str] = set()
    rows = [
        _row(view, layer, group, seen, batch, owned)
        for layer, group in zip(view.layers, groups(view, found))
    ]
    sources = [row for head in found for row in _sources(view, head, seen)]
    return Summary(
        view.source,
        view.net.name,
        view.phase_name,
        batch,
        tuple(rows),
        tuple(sources),
        view.unknown,
    )


def _batch(view: NetView) -> int:
    """Return the batch of the first input that is no row of labels, else 1."""
    for layer in view.layers:
        for value in layer.node.tops if not layer.node.bottoms else ():
            shape = view.shapes[value]
            if shape is not None and len(shape) > 1:
                return shape[0]
    return 1


def _row(
    view: NetView,
    layer: LayerView,
    group: Group,
    seen: dict[int, Field],
    batch: int,
    owned: set[str],
) -> LayerRow:
    """Make the row of ``layer``; ``owned`` collects the names of parameters counted so far."""
    tops = tuple(view.shapes[value] for value in layer.node.tops)
    field = seen.get(layer.node.tops[0]) if layer.node.tops else None
    if layer.spec is None:
        return LayerRow(layer.name, layer.type, group, tops, None, 0, None, 0, field)
    parameters = statistics = 0
    for index, shape in enumerate(layer.spec.params):
        specs = layer.node.layer.param
        name = specs[index].name if index < len(specs) else ""
        if layer.type == "BatchNorm":
            statistics += math.prod(shape)
        elif name not in owned:
            parameters += math.prod(shape)
        if name:
            owned.add(name)
    return LayerRow(
        layer.name,
        layer.type,
        group,
        tops,
        parameters,
        statistics,
        layer.spec.flops / batch,
        multiply_adds(layer) / batch,
        field,
    )


def multiply_adds(layer: LayerView) -> int:
    """Return the multiply-adds of a convolution or inner product; 0 for other layers.

    This is what most papers call FLOPs or MACs, and half of what PyTorch's FlopCounterMode
    counts.
    """
    if layer.spec is None or layer.bottoms[:1] == (None,):
        return 0
    if layer.type == "InnerProduct":
        rows = math.prod(layer.spec.tops[0][:-1])
        return rows * math.prod(layer.spec.params[0])
    if layer.type in _CONVOLUTIONS:
        # Each output of a convolution, and each input of a deconvolution, meets a whole filter.
        upsampling = layer.type == "Deconvolution"
        cells = layer.bottoms[0] if upsampling else layer.spec.tops[0]
        assert cells is not None
        filter_size = math.prod(layer.spec.params[0][1:])
        return math.prod(cells) * filter_size * len(layer.node.tops)
    return 0


def _sources(view: NetView, head: Head, seen: dict[int, Field]) -> Iterable[SourceRow]:
    for level in head.levels:
        value = level.source
        if value is None:
            continue
        shape, prior = view.shapes[value], level.prior
        p = prior.node.layer.prior_box_param if prior else None
        pairs = zip(p.min_size, p.max_size or p.min_size) if p else ()
        sizes = dict.fromkeys(size for pair in pairs for size in pair)
        per_cell = level.priors_per_cell
        known = per_cell is not None and shape is not None and len(shape) == 4
        yield SourceRow(
            head.name,
            view.graph.blob_of[value],
            shape,
            seen.get(value),
            (p.step or p.step_h or None) if p else None,
            tuple(sizes),
            per_cell,
            shape[2] * shape[3] * per_cell if known and shape and per_cell else None,
        )


def _total(rows: Iterable[LayerRow]) -> Total:
    rows = list(rows)
    return Total(
        len(rows),
        sum(row.parameters or 0 for row in rows),
        sum(row.statistics for row in rows),
        sum(row.flops or 0 for row in rows),
        sum(row.multiply_adds for row in rows),
    )
