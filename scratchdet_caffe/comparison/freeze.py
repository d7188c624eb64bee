"""Rewrite a net so that two engines compute the same, and nothing of it stays hidden.

Sources (data layers) become inputs, since engines draw their augmentation differently. A layer
that works in place gets a top of its own: its blob would show what a later layer made of it. A
blob that several layers read goes through an explicit Split, as Caffe inserts one: so each reader's
gradient is seen alone, and the layer that computed it wrong can be named. Dropout keeps everything,
and nothing is written to disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.graph import filter_net
from scratchdet_caffe.engine.shapes import Shape
from scratchdet_caffe.errors import UserError

#: Layers without bottoms that are no source of data.
_NO_SOURCE = ("Input", "Parameter")
_WRITERS = ("HDF5Output",)


@dataclass(frozen=True)
class Frozen:
    """A net made ready for a comparison.

    Attributes:
        net: All layers but the sources; in the form above, but for the inputs' layer.
        sources: The sources alone, as a net.
        given: Blobs that come from outside, those of Input layers, with their shapes.
        recorded: Blobs that the sources make.
        dropout: Names of the Dropout layers that keep everything now.
    """

    net: pb.NetParameter
    sources: pb.NetParameter
    given: dict[str, Shape]
    recorded: tuple[str, ...]
    dropout: tuple[str, ...]

    def with_inputs(self, shapes: Mapping[str, Shape]) -> pb.NetParameter:
        """Return the whole net, its inputs of these shapes."""
        layer = pb.LayerParameter(name="inputs", type="Input")
        for blob in (*self.given, *self.recorded):
            layer.top.append(blob)
            layer.input_param.shape.add().dim.extend(shapes[blob])
        net = pb.NetParameter(name=self.net.name, force_backward=self.net.force_backward)
        _add(net, layer)
        for other in self.net.layer:
            net.layer.add().CopyFrom(other)
        return _split(net)


def freeze(net: pb.NetParameter, phase: int) -> Frozen:
    """Return ``net`` of ``phase`` in the form that the module's docstring describes.

    Raises:
        UserError: A layer reads a blob that none before it makes.
    """
    state = pb.NetState(phase=phase)  # type: ignore[arg-type]
    kept = filter_net(net, state)
    body = pb.NetParameter(name=net.name, force_backward=net.force_backward)
    sources = pb.NetParameter(name=f"{net.name or 'net'} sources")
    given: dict[str, Shape] = {}
    present: dict[str, str] = {}  # what a blob name stands for now
    dropout = []
    for original in kept.layer:
        layer = pb.LayerParameter()
        layer.CopyFrom(original)
        for rules in ("include", "exclude"):
            layer.ClearField(rules)
        if layer.type == "Input":
            shapes = layer.input_param.shape
            for i, top in enumerate(layer.top):
                given[top] = tuple(shapes[i if len(shapes) > 1 else 0].dim)
                present[top] = top
        elif not layer.bottom and layer.type not in _NO_SOURCE:
            _add(sources, layer)
            present.update((top, top) for top in layer.top)
        elif layer.type not in _WRITERS:
            _rename(layer, present)
            if layer.HasField("detection_output_param"):
                layer.detection_output_param.ClearField("save_output_param")
            if layer.type == "Dropout":
                layer.dropout_param.dropout_ratio = 0
                dropout.append(layer.name)
            _add(body, layer)
    recorded = tuple(top for layer in sources.layer for top in layer.top)
    return Frozen(body, sources, given, recorded, tuple(dropout))


def _rename(layer: pb.LayerParameter, present: dict[str, str]) -> None:
    """Let ``layer`` read what its bottoms stand for, and make tops of its own."""
    for bottom in layer.bottom:
        if bottom not in present:
            raise UserError(
                f"layer '{layer.name}' reads '{bottom}', which no layer before it makes"
            )
    bottoms = [present[bottom] for bottom in layer.bottom]
    for i, top in enumerate(layer.top):
        present[top] = f"{top}@{layer.name}" if top in present else top
        layer.top[i] = present[top]
    layer.bottom[:] = bottoms


def _split(net: pb.NetParameter) -> pb.NetParameter:
    """Return ``net`` with a Split after each blob that several layers read."""
    readers = Counter(bottom for layer in net.layer for bottom in layer.bottom)
    out = pb.NetParameter(name=net.name, force_backward=net.force_backward)
    taken: Counter[str] = Counter()
    for layer in net.layer:
        own = _add(out, layer)
        for i, bottom in enumerate(layer.bottom):
            if readers[bottom] > 1:
                own.bottom[i] = f"{bottom}@split_{taken[bottom]}"
                taken[bottom] += 1
        for top in layer.top:
            if readers[top] > 1:
                split = out.layer.add(name=f"{top}@split", type="Split", bottom=[top])
                split.top.extend(f"{top}@split_{i}" for i in range(readers[top]))
    return out


def _add(net: pb.NetParameter, layer: pb.LayerParameter) -> pb.LayerParameter:
    own = net.layer.add()
    own.CopyFrom(layer)
    return own
