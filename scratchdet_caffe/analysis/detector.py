"""The parts of a single-shot detector: heads, their levels, and what belongs to neither.

Nothing is told from names. A head is what a MultiBoxLoss or DetectionOutput layer reads; its
levels are the predictions, followed back to their convolutions, and the PriorBox layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest

from scratchdet_caffe.analysis.view import LOSSES, LayerView, NetView
from scratchdet_caffe.engine.shapes.detection import priors_per_cell

#: What may lie between a prediction's convolution and the layer that reads all predictions.
_BETWEEN = {"BatchNorm", "Bias", "Flatten", "Permute", "Reshape", "Scale"}
_BETWEEN |= {"Sigmoid", "Softmax", "Split"}


@dataclass(frozen=True)
class Level:
    """One map that a head predicts from; None is what could not be followed.

    Attributes:
        loc: The convolution that predicts boxes.
        conf: The convolution that predicts classes.
        prior: The PriorBox layer.
    """

    loc: LayerView | None
    conf: LayerView | None
    prior: LayerView | None

    @property
    def source(self) -> int | None:
        """The value that is predicted from."""
        reader = self.loc or self.conf or self.prior
        return reader.node.bottoms[0] if reader else None

    @property
    def priors_per_cell(self) -> int | None:
        return priors_per_cell(self.prior.node.layer.prior_box_param) if self.prior else None


@dataclass(frozen=True)
class Head:
    """A head.

    Attributes:
        name: ``SSD``, or ``ARM`` and ``ODM`` where one refines the priors of the other.
        reader: The loss or output layer that reads it.
        classes: How many classes it predicts, background included; 0 if nobody says.
        box_values: How many numbers it predicts for each prior's box.
        levels: Its maps, in the order in which they are put together.
        layers: Indices of all layers from the predictions to the reader, PriorBox included.
    """

    name: str
    reader: LayerView
    classes: int
    box_values: int
    levels: tuple[Level, ...]
    layers: frozenset[int]


def heads(view: NetView) -> list[Head]:
    """Return the heads of ``view``, ARM before ODM; none if it is no such detector."""
    found: dict[tuple[object, ...], Head] = {}
    for layer in view.layers:
        for head in _heads_of(view, layer):
            key = tuple(level.loc.name if level.loc else None for level in head.levels)
            known = found.get(key)
            # The ARM of a training net shows twice: in its own loss and in the ODM's.
            if known is None:
                found[key] = head
            elif head.name == "ARM":
                found[key] = replace(known, name="ARM", layers=known.layers | head.layers)
    return sorted(found.values(), key=lambda head: ("ARM", "SSD", "ODM").index(head.name))


def _heads_of(view: NetView, layer: LayerView) -> Iterator[Head]:
    """Yield the heads that a MultiBoxLoss or DetectionOutput layer reads."""
    bottoms = layer.node.bottoms
    if layer.type == "MultiBoxLoss" and len(bottoms) >= 4:
        p, arm = layer.node.layer.multibox_loss_param, bottoms[4:]
    elif layer.type == "DetectionOutput" and len(bottoms) >= 3:
        p, arm = layer.node.layer.detection_output_param, bottoms[3:]  # type: ignore[assignment]
    else:
        return
    box_values = 4 if p.share_location else 4 * p.num_classes
    refined = len(arm) == 2
    name = "ODM" if refined else "SSD"
    yield _head(view, name, layer, p.num_classes, box_values, (bottoms[0], bottoms[1], bottoms[2]))
    if refined:
        yield _head(view, "ARM", layer, 2, 4, (arm[1], arm[0], bottoms[2]))


def _head(
    view: NetView,
    name: str,
    reader: LayerView,
    classes: int,
    box_values: int,
    values: tuple[int, int, int],
) -> Head:
    layers: set[int] = set()
    loc, conf, prior = (_parts(view, value, layers) for value in values)
    levels = tuple(Level(*level) for level in zip_longest(loc, conf, prior))
    return Head(name, reader, classes, box_values, levels, frozenset(layers))


def _parts(view: NetView, value: int, passed: set[int]) -> list[LayerView | None]:
    """Follow ``value`` back to the layers that predict it, one per level, in order."""
    index = view.makers[value]
    layer = view.layers[index]
    if layer.type == "Concat" and len(view.shapes[value] or ()) != 4:
        passed.add(index)
        return [part for bottom in layer.node.bottoms for part in _parts(view, bottom, passed)]
    if layer.type in _BETWEEN and len(layer.node.bottoms) == 1:
        passed.add(index)
        return _parts(view, layer.node.bottoms[0], passed)
    if layer.type in ("Convolution", "InnerProduct", "PriorBox"):
        passed.add(index)
        return [layer]
    return [None]


@dataclass(frozen=True)
class Group:
    """Where a layer belongs.

    Attributes:
        part: ``input``, ``backbone``, ``classifier`` (a backbone's layers without a map),
            ``TCB``, the name of a head, or ``output`` (losses, detections, accuracies).
        map: (height, width) of its first top in the backbone and the TCB; None where unknown
            or where there is no map.
    """

    part: str
    map: tuple[int, int] | None = None

    def __str__(self) -> str:
        size = f"{self.map[0]}x{self.map[1]}" if self.map else ""
        return f"{self.part} {size}".strip()


def groups(view: NetView, found: list[Head] | None = None) -> list[Group]:
    """Return the group of every layer of ``view``.

    The backbone is all that the maps with priors depend on. What lies between them and the
    predictions is the TCB (RefineDet's transfer connection blocks, or any other neck).
    """
    found = heads(view) if found is None else found
    part: dict[int, str] = {}
    anchored = [
        level.prior.node.bottoms[0] for head in found for level in head.levels if level.prior
    ]
    backbone = _ancestors(view, anchored)
    for head in reversed(found):
        part.update(dict.fromkeys(head.layers, head.name))
    for head in found:
        sources = [level.source for level in head.levels if level.source is not None]
        for index in _ancestors(view, sources) - backbone - part.keys():
            part[index] = "TCB" if head.name == "ODM" else head.name
    result: list[Group] = []
    for index, layer in enumerate(view.layers):
        before = {result[view.makers[value]].part for value in layer.node.bottoms}
        behind = bool(before - {"input", "backbone", "classifier"})
        result.append(_group(view, layer, part.get(index, "output" if behind else "backbone")))
    return result


def _group(view: NetView, layer: LayerView, part: str) -> Group:
    if not layer.node.bottoms:
        return Group("input")
    if layer.type in LOSSES or layer.type in ("Accuracy", "ArgMax", "Silence"):
        return Group("output")
    shape = view.shapes[layer.node.tops[0]] if layer.node.tops else None
    if part in ("backbone", "TCB") and shape is not None and len(shape) == 4:
        return Group(part, (shape[2], shape[3]))
    return Group("classifier" if part == "backbone" and shape is not None else part)


def _ancestors(view: NetView, values: list[int]) -> set[int]:
    """Return the indices of the layers that ``values`` depend on, their makers included."""
    found: set[int] = set()
    waiting = list(values)
    while waiting:
        index = view.makers[waiting.pop()]
        if index not in found:
            found.add(index)
            waiting += view.layers[index].node.bottoms
    return found
