"""Forward and backward passes over part of a net, with blobs that somebody may look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine import net as engine
from scratchdet_caffe.engine.layers.data import Source
from scratchdet_caffe.pycaffe.blob import Blob


class Passes:
    """Runs ranges of layers between blobs.

    A blob name may stand for several values, one per in-place layer. The last one is what the
    blob shows as data; the gradient of the first one that a pass comes to is what it shows as diff
    (Caffe's rule, since backward goes through the in-place layers in the same memory).

    Attributes:
        values: What the last forward pass left for a backward pass, by value number.
    """

    def __init__(self, net: engine.Net, blobs: Mapping[str, Blob]) -> None:
        self.net, self.blobs = net, blobs
        self.values: dict[int, Tensor] = {}
        self._layers = range(len(net.layers))
        self._first: dict[str, int] = {}
        for value, blob in enumerate(net.graph.blob_of):
            self._first.setdefault(blob, value)

    def forward(self, layers: range) -> None:
        """Run ``layers`` on the present blobs and show what they make."""
        self._layers = layers
        self._run(layers, self.net.phase == pb.TRAIN or self.net.graph.force_backward)

    def _run(self, layers: range, with_grad: bool) -> None:
        graph, device = self.net.graph, self.net.device
        self.values = {}
        made = {value for i in layers for value in graph.nodes[i].tops}
        last, first = set(graph.last.values()), set(self._first.values())
        keep = made & (last | first if with_grad else last)
        given = {
            value: self.blobs[graph.blob_of[value]].as_tensor(device)
            for i in layers
            for value in graph.nodes[i].bottoms
            if value not in made
        }
        feed = {blob: self.blobs[blob].as_tensor(device) for blob in self.net.inputs}
        for name, tensor in feed.items():
            if graph.last[name] != self._first[name]:
                # A layer works in place on it: what it makes is shown in the same array.
                feed[name] = tensor.clone()
        if graph.force_backward:
            for tensor in (*given.values(), *feed.values()):
                tensor.requires_grad_(tensor.is_floating_point())
        elif with_grad:
            # Layers before the range may learn: their gradient goes through what is given.
            for i in layers:
                for value, down in zip(graph.nodes[i].bottoms, graph.nodes[i].propagate_down):
                    if down and value in given:
                        given[value].requires_grad_()
        with torch.set_grad_enabled(with_grad):
            values = self.net.run(feed, keep, layers, given)
        inputs = set(self.net.inputs)
        for value in sorted(values):
            name = graph.blob_of[value]
            if name not in inputs or value != self._first[name]:
                self.blobs[name].set_value(values[value])
        if with_grad:
            self.values = {**given, **values}

    def _replay(self) -> None:
        """Repeat the last forward pass with gradients, on the same batch of data."""
        layers = self._layers
        while layers and isinstance(self.net.layers[layers[0]], Source):
            layers = layers[1:]
        self._run(layers, with_grad=True)

    def backward(self, layers: range) -> None:
        """Propagate gradients from the last of ``layers`` back to the first.

        Losses start with their weight, other blobs that none of ``layers`` reads with their
        diff. Gradients of parameters add up.
        """
        graph = self.net.graph
        if not self.values:
            self._replay()
        tops, tops_grad = self._seeds(layers)
        reached = {v for i in layers for v in (*graph.nodes[i].bottoms, *graph.nodes[i].tops)}
        earliest: dict[str, int] = {}  # the last that backward comes to, which its diff shows
        for value in sorted(reached):
            earliest.setdefault(graph.blob_of[value], value)
        wanted = {
            blob: value
            for blob, value in earliest.items()
            if value in self.values and self.values[value].requires_grad
        }
        # Only parameters within the range: those before it get nothing (Caffe stops there).
        inside = {id(blob) for i in layers for blob in self.net.layers[i].own_blobs}
        params = [
            p.tensor for p in self.net.params if p.tensor.requires_grad and id(p.tensor) in inside
        ]
        targets = [*(self.values[value] for value in wanted.values()), *params]
        grads: Sequence[Tensor | None] = [None] * len(targets)
        if tops and targets:
            grads = torch.autograd.grad(
                tops, targets, tops_grad, retain_graph=True, allow_unused=True
            )
        for param, grad in zip(params, grads[len(wanted) :]):
            if grad is None:
                continue
            if param.grad is None:
                param.grad = grad.clone()
            else:
                param.grad += grad
        seeded = {id(top) for top in tops}
        by_blob = dict(zip(wanted, grads))
        for blob, value in earliest.items():
            known = value in self.values or value == self._first[blob]
            if known and id(self.values.get(value)) not in seeded:
                self.blobs[blob].set_diff(by_blob.get(blob))

    def _seeds(self, layers: range) -> tuple[list[Tensor], list[Tensor]]:
        """Values from which gradients start in ``layers``, and those gradients."""
        graph = self.net.graph
        read = {value for i in layers for value in graph.nodes[i].bottoms}
        weights = dict(self.net.loss_terms)
        tops, grads = [], []
        for i in layers:
            for value in graph.nodes[i].tops:
                top = self.values.get(value)
                if top is None or not top.requires_grad:
                    continue
                blob = self.blobs[graph.blob_of[value]]
                if value in weights:
                    tops.append(top)
                    grads.append(torch.full_like(top, weights[value]))
                    blob.diff.fill(weights[value])
                elif value not in read:
                    tops.append(top)
                    # A copy: what the pass computes is written into the same array.
                    diff = torch.tensor(blob.diff, device=top.device, dtype=top.dtype)
                    grads.append(diff.reshape(top.shape))
        return tops, grads
