"""Where a number that is not finite comes from: the pass is made again, layer by layer.

Training keeps no blob that the backward pass does not need, so the blobs of the iteration that
went wrong are gone by the time its loss is known. They are computed anew: the data layers go back
to the records of that iteration, and everything that is drawn is drawn as before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from scratchdet_caffe.engine.layers import Layer
from scratchdet_caffe.engine.layers.data import Source
from scratchdet_caffe.engine.net import Net
from scratchdet_caffe.engine.solver import Solver


@runtime_checkable
class KeepsTops(Protocol):
    """A layer that can show what it made last, though nothing else keeps it."""

    top: list[Any]


@dataclass(frozen=True)
class Culprit:
    """The first blob that is not finite.

    Attributes:
        layer: The layer that made it, or owns it.
        what: The blob, in words.
        records: The records of its batch, as the data layers name them.
        in_weights: Whether it is a parameter: then no other batch is any better.
    """

    layer: str
    what: str
    records: tuple[str, ...] = ()
    in_weights: bool = False


def find_culprit(solver: Solver) -> Culprit | None:
    """Return the first blob of the last iteration that is not finite; None if a replay has none.

    Blobs stand in the order in which they are computed: for each layer its parameters, then its
    tops; after the forward pass, from the last layer to the first, gradients of bottoms and of
    parameters. Afterwards the solver is as it was, but for its gradients.
    """
    with _rewound(solver) as passes:
        found: list[Culprit] = []
        for _ in range(passes):
            found += _one_pass(solver)
    return found[0] if found else None


@contextmanager
def _rewound(solver: Solver) -> Iterator[int]:
    """Go back to the start of the last iteration; yield its number of passes."""
    sources, passes = solver.net.sources.values(), solver.param.iter_size
    positions = [source.position for source in sources]
    for source in sources:
        source.position -= passes * source.per_pass
    try:
        with solver.net.fixed_statistics():
            yield passes
    finally:
        for source, position in zip(sources, positions):
            source.position = position


def _one_pass(solver: Solver) -> list[Culprit]:
    net, watch = solver.net, _Watch()
    records = _records(net)
    # What a layer in Python made the first time: it may count its calls, and differ the next.
    kept = {
        layer.param.name: [
            (name, _odd(torch.from_numpy(blob.data)))
            for name, blob in zip(layer.param.top, layer.top)
        ]
        for layer in net.layers
        if isinstance(layer, KeepsTops)
    }
    for param in net.params:
        param.tensor.grad = None
    with watch.over(net, solver.feed()) as feed:
        loss = net.loss(net(feed))
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
    for layer in net.layers[: watch.first]:
        for blob, word in kept.get(layer.param.name, ()):
            if word:
                return [Culprit(layer.param.name, f"its top '{blob}' held {word}", records)]
    if watch.first is not None:
        name = net.layers[watch.first].param.name
        return [Culprit(name, watch.what, records, watch.in_weights)]
    return [Culprit(*found, records) for found in watch.gradients(net)][:1]


class _Watch:
    """Looks at every blob of a pass.

    Attributes:
        first: Index of the first layer with a blob that is not finite.
        what: That blob, in words.
        in_weights: Whether it is a parameter.
    """

    def __init__(self) -> None:
        self.first: int | None = None
        self.what = ""
        self.in_weights = False
        self._bottoms: dict[int, tuple[Tensor, ...]] = {}

    @contextmanager
    def over(self, net: Net, feed: Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
        """Watch the pass that is made inside with ``feed``, each layer on its own."""
        hooks: list[Any] = []
        for i, layer in enumerate(net.layers):
            hooks.append(layer.register_forward_pre_hook(partial(self._before, i)))
            hooks.append(layer.register_forward_hook(partial(self._after, i)))
        net.layer_by_layer = True
        try:
            yield feed
        finally:
            net.layer_by_layer = False
            for hook in hooks:
                hook.remove()

    def _before(self, index: int, layer: Any, bottoms: tuple[Tensor, ...]) -> None:
        for bottom in bottoms:
            if bottom.requires_grad:
                bottom.retain_grad()
        self._bottoms[index] = bottoms
        if self.first is None and layer.learnable:
            for i, blob in enumerate(layer.blobs):
                self._note(index, f"its parameter blob {i} holds", blob, is_weight=True)

    def _after(self, index: int, layer: Layer, bottoms: Any, tops: tuple[Tensor, ...]) -> None:
        if self.first is None:
            for blob, top in zip(layer.param.top, tops):
                self._note(index, f"its top '{blob}' holds", top)

    def _note(self, index: int, what: str, values: Tensor, is_weight: bool = False) -> None:
        if self.first is None and (word := _odd(values)):
            self.first, self.what, self.in_weights = index, f"{what} {word}", is_weight

    def gradients(self, net: Net) -> Iterator[tuple[str, str]]:
        """Yield layer and words for gradients that are not finite, as backward made them."""
        for i, layer in reversed(list(enumerate(net.layers))):
            for blob, bottom in zip(layer.param.bottom, self._bottoms.get(i, ())):
                if bottom.grad is not None and (word := _odd(bottom.grad)):
                    yield layer.param.name, f"the gradient of its bottom '{blob}' holds {word}"
            for j, values in enumerate(layer.own_blobs):
                if values.grad is not None and (word := _odd(values.grad)):
                    yield layer.param.name, f"the gradient of its parameter blob {j} holds {word}"


def _odd(values: Tensor) -> str:
    """``nan`` or ``inf`` if ``values`` hold such a number."""
    if not values.is_floating_point() or bool(torch.isfinite(values).all()):
        return ""
    return "nan" if bool(torch.isnan(values).any()) else "inf"


def _records(net: Net) -> tuple[str, ...]:
    return tuple(
        key
        for source in net.sources.values()
        if isinstance(source, Source)
        for key in source.coming()
    )
