"""``caffe.Net``: pycaffe's view of a net of the embedded engine."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_prototxt
from scratchdet_caffe.engine import net as engine
from scratchdet_caffe.engine.shapes.registry import spec_of
from scratchdet_caffe.engine.weights import load_weights, save_weights
from scratchdet_caffe.errors import UserError, nearest
from scratchdet_caffe.pycaffe import mode
from scratchdet_caffe.pycaffe.blob import Array, Blob, ParamBlob


class Net:
    """A net with its blobs, as in pycaffe.

    Either ``Net(network_file, phase, level=0, stages=None, weights=None)`` or the old
    ``Net(network_file, weights_file, phase)``.

    Attributes:
        blobs: `Blob` by name.
        params: List of `Blob` by layer name, for layers that have parameters.
    """

    def __init__(
        self,
        network_file: str | os.PathLike[str],
        *old: Any,
        phase: int | None = None,
        level: int = 0,
        stages: Sequence[str] | None = None,
        weights: str | os.PathLike[str] | None = None,
    ) -> None:
        if len(old) == 2:
            weights, phase = old
        elif len(old) == 1:
            (phase,) = old
        if phase is None or len(old) > 2:
            raise TypeError("Net(network_file, phase) or Net(network_file, weights, phase)")
        param = read_prototxt(network_file, pb.NetParameter)
        net = engine.Net(param, phase, level, stages or (), mode.seed())
        net.to(mode.device())
        self._attach(net.channels_last())
        if weights is not None:
            self.copy_from(weights)

    @classmethod
    def over(cls, net: engine.Net) -> Net:
        """Return the pycaffe view of an existing net."""
        self = cls.__new__(cls)
        self._attach(net)
        return self

    def _attach(self, net: engine.Net) -> None:
        self._net = net
        graph = net.graph
        self.blobs: OrderedDict[str, Blob] = OrderedDict(
            (blob, Blob(net.shapes[value])) for blob, value in graph.last.items()
        )
        self.params: OrderedDict[str, list[ParamBlob]] = OrderedDict(
            (layer.param.name, [ParamBlob(tensor) for tensor in layer.blobs])
            for layer in net.layers
            if layer.num_blobs
        )
        self._first: dict[str, int] = {}
        for value, blob in enumerate(graph.blob_of):
            self._first.setdefault(blob, value)
        self._values: dict[int, Tensor] = {}

    @property
    def inputs(self) -> list[str]:
        """Blobs that the caller fills."""
        return self._net.inputs

    @property
    def outputs(self) -> list[str]:
        """Blobs that no layer reads."""
        return list(self._net.outputs)

    @property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        """The loss weight of every blob."""
        weights = {self._net.graph.blob_of[v]: w for v, w in self._net.loss_terms}
        return OrderedDict((blob, weights.get(blob, 0.0)) for blob in self.blobs)

    @property
    def top_names(self) -> OrderedDict[str, list[str]]:
        """The tops of every layer, by its name."""
        nodes = self._net.graph.nodes
        return OrderedDict((node.layer.name, list(node.layer.top)) for node in nodes)

    @property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        """The bottoms of every layer, by its name."""
        nodes = self._net.graph.nodes
        return OrderedDict((node.layer.name, list(node.layer.bottom)) for node in nodes)

    def forward(
        self,
        blobs: Iterable[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **inputs: npt.ArrayLike,
    ) -> dict[str, Array]:
        """Run the net, or its layers from ``start`` to ``end``, and return output arrays by name.

        Args:
            blobs: Names of further blobs to return.
            start: First layer to run.
            end: Last layer to run; its tops are returned then.
            inputs: Arrays for the input blobs, of their shape.
        """
        if inputs and set(inputs) != set(self.inputs):
            raise UserError(
                f"net '{self._net.name}': inputs are {self.inputs}, but got {sorted(inputs)}"
            )
        for name, array in inputs.items():
            self.blobs[name].data[...] = array
        layers = range(
            0 if start is None else self._index(start),
            len(self._net.layers) if end is None else self._index(end) + 1,
        )
        self._run(layers, self._net.phase == pb.TRAIN or self._net.graph.force_backward)
        wanted = self.outputs if end is None else self._net.graph.nodes[layers[-1]].layer.top
        return {blob: self.blobs[blob].data for blob in (*wanted, *(blobs or ()))}

    def _run(self, layers: range, with_grad: bool) -> None:
        """Run ``layers`` and show their tops; keep what a backward pass starts from."""
        graph, device = self._net.graph, self._net.device
        for param_blobs in self.params.values():
            for blob in param_blobs:
                blob.push()
        self._values = {}
        made = {value for i in layers for value in graph.nodes[i].tops}
        last, first = set(graph.last.values()), set(self._first.values())
        keep = made & (last | first if with_grad else last)
        given = {
            value: self.blobs[graph.blob_of[value]].as_tensor(device)
            for i in layers
            for value in graph.nodes[i].bottoms
            if value not in made
        }
        feed = {blob: self.blobs[blob].as_tensor(device) for blob in self._net.inputs}
        for name, tensor in feed.items():
            if graph.last[name] != self._first[name]:
                # A layer works in place on it: what it makes is shown in the same array.
                feed[name] = tensor.clone()
        if graph.force_backward:
            for tensor in (*given.values(), *feed.values()):
                tensor.requires_grad_(tensor.is_floating_point())
        with torch.set_grad_enabled(with_grad):
            values = self._net.run(feed, keep, layers, given)
        inputs = set(self._net.inputs)
        for value in sorted(values):
            name = graph.blob_of[value]
            if name not in inputs or value != self._first[name]:
                self.blobs[name].set_value(values[value])
        if with_grad:
            self._values = {**given, **values}

    def backward(
        self,
        diffs: Iterable[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **seeds: npt.ArrayLike,
    ) -> dict[str, Array]:
        """Propagate gradients back through the last forward pass, from ``start`` to ``end``.

        Losses start with their weight, other blobs at the top of the range with what is in
        their ``diff``. Parameter gradients add up (see `clear_param_diffs`).

        Returns:
            Gradients of the inputs and of ``diffs``, by blob name.
        """
        for name, array in seeds.items():
            self.blobs[name].diff[...] = array
        graph = self._net.graph
        layers = range(
            0 if end is None else self._index(end),
            len(self._net.layers) if start is None else self._index(start) + 1,
        )
        if not self._values:
            self._run(range(len(self._net.layers)), with_grad=True)
        tops, tops_grad = self._seeds(layers)
        reached = {v for i in layers for v in (*graph.nodes[i].bottoms, *graph.nodes[i].tops)}
        wanted = {
            blob: value
            for blob, value in self._first.items()
            if value in reached and value in self._values and self._values[value].requires_grad
        }
        params = [p.tensor for p in self._net.params if p.tensor.requires_grad]
        targets = [*(self._values[value] for value in wanted.values()), *params]
        grads: Sequence[Tensor | None] = [None] * len(targets)
        if tops and targets:
            grads = torch.autograd.grad(
                tops, targets, tops_grad, retain_graph=True, allow_unused=True
            )
        with torch.no_grad():
            for param, grad in zip(params, grads[len(wanted) :]):
                if grad is not None:
                    param.grad = grad if param.grad is None else param.grad + grad
        seeded = {id(top) for top in tops}
        by_blob = dict(zip(wanted, grads))
        for blob, value in self._first.items():
            if value in reached and id(self._values.get(value)) not in seeded:
                self.blobs[blob].set_diff(by_blob.get(blob))
        return {blob: self.blobs[blob].diff for blob in (*self.inputs, *(diffs or ()))}

    def _seeds(self, layers: range) -> tuple[list[Tensor], list[Tensor]]:
        """Values from which gradients start in ``layers``, and those gradients."""
        graph = self._net.graph
        read = {value for i in layers for value in graph.nodes[i].bottoms}
        weights = dict(self._net.loss_terms)
        tops, grads = [], []
        for i in layers:
            for value in graph.nodes[i].tops:
                top = self._values.get(value)
                if top is None or not top.requires_grad:
                    continue
                if value in weights:
                    tops.append(top)
                    grads.append(torch.full_like(top, weights[value]))
                    self.blobs[graph.blob_of[value]].diff.fill(weights[value])
                elif value not in read:
                    diff = torch.from_numpy(self.blobs[graph.blob_of[value]].diff)
                    tops.append(top)
                    grads.append(diff.to(top.device).reshape(top.shape))
        return tops, grads

    def clear_param_diffs(self) -> None:
        """Set the gradients of all parameters to zero."""
        for param in self._net.params:
            param.tensor.grad = None

    def reshape(self) -> None:
        """Propagate the shapes of the input blobs through the net."""
        net = self._net
        for i, node in enumerate(net.graph.nodes):
            if net.layers[i].param.type == "Input":
                shapes = [self.blobs[top].shape for top in node.layer.top]
            else:
                bottoms = [net.shapes[value] for value in node.bottoms]
                shapes = list(spec_of(node.layer, bottoms).tops)
            for value, shape in zip(node.tops, shapes):
                net.shapes[value] = shape
        for blob, value in net.graph.last.items():
            if self.blobs[blob].shape != net.shapes[value]:
                self.blobs[blob].reshape(*net.shapes[value])

    def copy_from(self, path: str | os.PathLike[str]) -> None:
        """Copy weights from a ``.caffemodel``, by layer name."""
        load_weights(self._net, path)
        for blobs in self.params.values():
            for blob in blobs:
                blob.pull()

    def share_with(self, other: Net) -> None:
        """Use the parameters of ``other`` from now on, by layer name."""
        self._net.share_with(other._net)
        self._attach(self._net)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the weights as a ``.caffemodel``."""
        for blobs in self.params.values():
            for blob in blobs:
                blob.push()
        save_weights(self._net, Path(path))

    def _index(self, layer: str) -> int:
        names = [node.layer.name for node in self._net.graph.nodes]
        if layer not in names:
            raise UserError(f"net '{self._net.name}': no layer '{layer}'{nearest(layer, names)}")
        return names.index(layer)
