"""How long each layer takes, forward and backward: what ``caffe time`` measures."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from scratchdet_caffe.engine.net import Net


@dataclass
class LayerTimes:
    """Seconds that each layer has taken so far, in the order of the net.

    Attributes:
        names: Layer names.
        forward: Seconds forward, per layer.
        backward: Seconds backward, per layer.
    """

    names: list[str]
    forward: list[float] = field(default_factory=list)
    backward: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.forward = [0.0] * len(self.names)
        self.backward = [0.0] * len(self.names)


class LayerTimer:
    """Runs a net layer by layer, each with an autograd graph of its own.

    Args:
        net: The net to time; its inputs are filled with zeros.
    """

    def __init__(self, net: Net) -> None:
        self.net = net
        self.times = LayerTimes([node.layer.name for node in net.graph.nodes])
        self._feed = {
            blob: torch.zeros(net.shapes[value], device=net.device)
            for node in net.graph.nodes
            for blob, value in zip(node.layer.top, node.tops)
            if blob in net.inputs
        }
        self._weights = dict(net.loss_terms)

    def _now(self) -> float:
        if self.net.device.type == "cuda":
            torch.cuda.synchronize(self.net.device)
        return time.perf_counter()

    def run(self) -> float:
        """Do one forward and one backward pass; return the loss."""
        values: dict[int, Tensor] = {}
        calls: list[tuple[list[Tensor], list[Tensor]]] = []
        loss = 0.0
        for i, node in enumerate(self.net.graph.nodes):
            bottoms = [
                values[v].detach().requires_grad_(goes and values[v].is_floating_point())
                for v, goes in zip(node.bottoms, node.propagate_down)
            ]
            given = dict(zip(node.bottoms, bottoms))
            began = self._now()
            tops = self.net.run(self._feed, node.tops, range(i, i + 1), given)
            self.times.forward[i] += self._now() - began
            values.update(tops)
            calls.append((bottoms, [tops[value] for value in node.tops]))
            for value in node.tops:
                if value in self._weights:
                    loss += self._weights[value] * float(tops[value].detach().sum())
        self._backward(calls)
        return loss

    def _backward(self, calls: list[tuple[list[Tensor], list[Tensor]]]) -> None:
        grads: dict[int, Tensor] = {}
        for i in reversed(range(len(calls))):
            node, layer = self.net.graph.nodes[i], self.net.layers[i]
            bottoms, tops = calls.pop()
            outs = [(value, top) for value, top in zip(node.tops, tops) if top.requires_grad]
            into = [(v, bottom) for v, bottom in zip(node.bottoms, bottoms) if bottom.requires_grad]
            params = [blob for blob in layer.own_blobs if blob.requires_grad]
            targets = [*(bottom for _, bottom in into), *params]
            began = self._now()
            if outs and targets:
                seeds = [self._seed(value, top, grads) for value, top in outs]
                found = torch.autograd.grad(
                    [top for _, top in outs], targets, seeds, allow_unused=True
                )
                _add(grads, ((value, grad) for (value, _), grad in zip(into, found)))
            self.times.backward[i] += self._now() - began

    def _seed(self, value: int, top: Tensor, grads: dict[int, Tensor]) -> Tensor:
        if value in grads:
            return grads.pop(value)
        return torch.full_like(top, self._weights.get(value, 0.0), requires_grad=False)


def _add(grads: dict[int, Tensor], found: Iterable[tuple[int, Tensor | None]]) -> None:
    """Sum the gradients of a value over its readers."""
    for value, grad in found:
        if grad is not None:
            grads[value] = grads[value] + grad if value in grads else grad
