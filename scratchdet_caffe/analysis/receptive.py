"""Receptive fields and strides: which pixels of the input one cell of a map depends on.

A cell depends on an interval of cells on each axis. Behind windows alone, that of cell i begins
and ends at a multiple of i, found once for each map. Behind a deconvolution it differs from cell
to cell, and is followed backwards, layer by layer. Both are exact for dilation and pooling; where
several paths meet, the field is the interval around all of theirs. (Only where a deconvolution
leaves cells empty and a dilation skips others, it may come out larger.) Maps count as unbounded,
so a field may exceed the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from scratchdet_caffe.analysis.view import LayerView, NetView
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.errors import LayerError
from scratchdet_caffe.engine.shapes.vision import Window, conv_window, pool_window

#: First and last cell on one axis; infinite where all cells count.
Interval = tuple[float, float]

_WHOLE: Interval = (-math.inf, math.inf)
_NOTHING: Interval = (math.inf, -math.inf)
#: Layers whose top has the cells of its bottoms. (BatchNorm's batch statistics do not count.)
_CELLWISE = {"AbsVal", "ArgMax", "BNLL", "BatchNorm", "Bias", "Clip", "Dropout", "ELU", "Eltwise"}
_CELLWISE |= {"Exp", "Log", "PReLU", "Power", "ReLU", "Scale", "Sigmoid", "Softmax", "Split"}
_CELLWISE |= {"Swish", "TanH", "Threshold"}
#: Layers behind which a cell is no place any more, and those that mix all cells.
_NO_PLACES = {"Flatten", "Permute", "Reshape", "SPP"}
_MIXING = {"Concat", "InnerProduct", "MVN", "Normalize", "Pooling", "Reduction", "Slice", "Tile"}
_LONGEST_PERIOD = 64


@dataclass(frozen=True)
class Field:
    """What a cell of a map sees of the input, (height, width).

    Attributes:
        size: Pixels, of the cell that sees most; infinite where the whole input counts.
        stride: Pixels from one cell's field to the next; 0 where all cells see the same.
    """

    size: tuple[float, float]
    stride: tuple[Fraction, Fraction]


@dataclass(frozen=True)
class _Sliding:
    """A window with this many cells from its first to its last, on one axis."""

    extent: int = 0
    stride: int = 1
    pad: int = 0

    def bottom(self, first: float, last: float) -> Interval:
        start = first * self.stride - self.pad
        return start, last * self.stride - self.pad + self.extent


@dataclass(frozen=True)
class _Upsampling:
    """The window of a deconvolution: each cell of the bottom spreads over cells of the top."""

    extent: int
    stride: int
    pad: int
    dilation: int

    def bottom(self, first: float, last: float) -> Interval:
        lowest = math.ceil((first + self.pad - self.extent) / self.stride)
        highest = math.floor((last + self.pad) / self.stride)

        def read(cell: int) -> bool:
            """Tell whether a tap of ``cell`` falls on the top's cells first..last."""
            near = max(0, first + self.pad - cell * self.stride)
            far = min(self.extent, last + self.pad - cell * self.stride)
            return math.ceil(near / self.dilation) * self.dilation <= far

        cells = [cell for cell in range(lowest, highest + 1) if read(cell)]
        return (cells[0], cells[-1]) if cells else _NOTHING


@dataclass(frozen=True)
class _Mixing:
    """A layer each of whose cells depends on all cells of its bottoms."""

    def bottom(self, first: float, last: float) -> Interval:
        return _WHOLE


_Step = _Sliding | _Upsampling | _Mixing


def fields(view: NetView) -> dict[int, Field]:
    """Return the receptive field of every value of ``view`` whose cells are places of the input.

    Values without are left out: predictions put in rows, priors, losses, and what lies behind a
    layer of a type that is not known.
    """
    high, wide = (_Axis(view, axis) for axis in range(2))
    found: dict[int, Field] = {}
    for layer in view.layers:
        bottoms = layer.node.bottoms
        placed = all(value in found or not view.maker(value).bottoms for value in bottoms)
        if not bottoms or layer.type in _NO_PLACES or not (placed or layer.type == "InnerProduct"):
            continue
        for value in layer.node.tops:
            if layer.type in _CELLWISE and len(bottoms) == 1 and bottoms[0] in found:
                found[value] = found[bottoms[0]]
                continue
            one = high.field(value)
            other = one if high.steps == wide.steps else wide.field(value)
            if one and other:
                found[value] = Field((one[0], other[0]), (one[1], other[1]))
    return found


class _Axis:
    """Receptive fields on one axis.

    Attributes:
        steps: What each layer does; None if its tops have no field.
        straight: Of values behind windows alone: (stride, first, last), so that cell i depends
            on the input from i * stride + first to i * stride + last.
    """

    def __init__(self, view: NetView, axis: int) -> None:
        self.view = view
        self.steps = [_step(layer, axis) for layer in view.layers]
        self.straight: dict[int, tuple[int, float, float]] = {}
        for layer, step in zip(view.layers, self.steps):
            ways = [self.straight.get(value) for value in _read(layer)]
            strides = {way[0] for way in ways if way}
            if not layer.bottoms:
                self.straight.update(dict.fromkeys(layer.node.tops, (1, 0, 0)))
            elif isinstance(step, _Sliding) and None not in ways and len(strides) == 1:
                (stride,) = strides
                first, last = _around([way[1:] for way in ways if way])
                reach = (first - stride * step.pad, last + stride * (step.extent - step.pad))
                own = (stride * step.stride, *reach)
                self.straight.update(dict.fromkeys(layer.node.tops, own))

    def field(self, value: int) -> tuple[float, Fraction] | None:
        """Return size and stride of the field of ``value``, or None."""
        if value in self.straight:
            stride, first, last = self.straight[value]
            return last - first + 1, Fraction(stride)
        # Behind deconvolutions, cells see intervals of several sizes in turn.
        before = self.steps[: self.view.makers[value] + 1]
        strides = [step.stride for step in before if isinstance(step, _Upsampling)]
        period = min(math.prod(strides), _LONGEST_PERIOD)
        spans = [self._span(value, cell) for cell in range(period)]
        known = [span for span in spans if span is not None]
        some = next((cell for cell, span in enumerate(spans) if span != _NOTHING), None)
        if len(known) < len(spans) or some is None:
            return None
        size = max(last - first for first, last in known) + 1
        after = self._span(value, some + period) or _NOTHING
        moved = after[0] - known[some][0]
        return size, Fraction(int(moved), period) if math.isfinite(moved) else Fraction(0)

    def _span(self, value: int, cell: int) -> Interval | None:
        """Return the interval of inputs that ``cell`` of ``value`` depends on; None if unknown."""
        asked: dict[int, Interval] = {value: (cell, cell)}
        inputs = [_NOTHING]
        while asked:
            index = max(self.view.makers[top] for top in asked)
            layer, step = self.view.layers[index], self.steps[index]
            span = _around([_NOTHING, *(asked.pop(top, _NOTHING) for top in layer.node.tops)])
            if span == _NOTHING:
                continue
            if step is None:
                return None
            first, last = step.bottom(*span) if math.isfinite(span[0]) else _WHOLE
            for bottom in _read(layer):
                if bottom in self.straight and first <= last:
                    stride, start, end = self.straight[bottom]
                    inputs.append((first * stride + start, last * stride + end))
                else:
                    asked[bottom] = _around([asked.get(bottom, _NOTHING), (first, last)])
        return _around(inputs)


def _read(layer: LayerView) -> list[int]:
    """Return the values whose cells ``layer`` reads: a Crop takes only its second one's size."""
    return layer.node.bottoms[: 1 if layer.type == "Crop" else None]


def _around(spans: Sequence[Interval]) -> Interval:
    return min(first for first, _ in spans), max(last for _, last in spans)


def _step(layer: LayerView, axis: int) -> _Step | None:
    """Return what ``layer`` does on one axis; None if its tops have no field."""
    try:
        return _step_of(layer, axis) if layer.bottoms and not layer.refusal else None
    except LayerError:  # behind a shape that is not known, nobody has checked the layer yet
        return None


def _step_of(layer: LayerView, axis: int) -> _Step | None:
    param = layer.node.layer
    if layer.type in ("Convolution", "DepthwiseConvolution", "Deconvolution", "Im2col"):
        shape = layer.bottoms[0]
        window = conv_window(param, len(shape) - 2 if shape else 2)
        upsampling = layer.type == "Deconvolution"
        return _upsampling(window, axis) if upsampling else _sliding(window, axis)
    if layer.type == "Pooling" and not param.pooling_param.global_pooling:
        return _sliding(pool_window(param, 0, 0), axis)
    if layer.type == "LRN" and param.lrn_param.norm_region == pb.LRNParameter.WITHIN_CHANNEL:
        size = param.lrn_param.local_size
        return _Sliding(size - 1, 1, size // 2)
    if layer.type == "Crop":
        offsets = list(param.crop_param.offset) or [0]
        own = axis + 2 - param.crop_param.axis
        return _Sliding(pad=-offsets[min(own, len(offsets) - 1)] if own >= 0 else 0)
    if layer.type in _CELLWISE or _keeps_cells(param):
        return _Sliding()
    return _Mixing() if layer.type in _MIXING | _NO_PLACES else None


def _sliding(window: Window, axis: int) -> _Sliding:
    extent = window.dilation[axis] * (window.kernel[axis] - 1)
    return _Sliding(extent, window.stride[axis], window.pad[axis])


def _upsampling(window: Window, axis: int) -> _Upsampling:
    extent = window.dilation[axis] * (window.kernel[axis] - 1)
    return _Upsampling(extent, window.stride[axis], window.pad[axis], window.dilation[axis])


def _keeps_cells(layer: pb.LayerParameter) -> bool:
    """Tell whether a layer that may work along any axis works along the channels."""
    along = {
        "Concat": layer.concat_param.axis == layer.concat_param.concat_dim == 1,
        "LRN": True,
        "Normalize": not layer.norm_param.across_spatial,
        "Slice": layer.slice_param.axis == layer.slice_param.slice_dim == 1,
        "Tile": layer.tile_param.axis == 1,
    }
    return along.get(layer.type, False)
