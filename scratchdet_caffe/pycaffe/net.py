"""``caffe.Net``: pycaffe's view of a net of the embedded engine."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from scratchdet_caffe.caffeproto import hdf5, read_net
from scratchdet_caffe.engine import net as engine
from scratchdet_caffe.engine.layers.data import Input, Source
from scratchdet_caffe.engine.layers.dummy import DummyData
from scratchdet_caffe.engine.layers.memory import MemoryData
from scratchdet_caffe.engine.shapes.registry import spec_of
from scratchdet_caffe.engine.weights import load_weights, save_weights, to_message
from scratchdet_caffe.errors import UserError, nearest
from scratchdet_caffe.pycaffe import mode
from scratchdet_caffe.pycaffe.batches import batches, collect
from scratchdet_caffe.pycaffe.blob import Array, Blob, BlobVec, ParamBlob, ReshapedBlob
from scratchdet_caffe.pycaffe.net_blobs import blobs_of
from scratchdet_caffe.pycaffe.passes import Passes
from scratchdet_caffe.pycaffe.python_layer import PythonLayer
from scratchdet_caffe.pycaffe.raw import RawNet

Path = str | os.PathLike[str]


@dataclass(frozen=True)
class LayerView:
    """A layer as `Net.layers` shows it: its type and its parameter blobs."""

    type: str
    blobs: BlobVec


class Net(RawNet):
    """A net with its blobs, as in pycaffe.

    Either ``Net(network_file, phase, level=0, stages=None, weights=None)`` or the old
    ``Net(network_file, weights_file, phase)``.

    Attributes:
        blobs: `Blob` by name.
        params: List of `Blob` by layer name, for layers that have parameters.
        layers: All layers in the order in which they run; of a Python layer, the object itself.
        layer_dict: The same, by name.
    """

    def __init__(
        self,
        network_file: Path,
        phase: int | Path,
        level: int = 0,
        stages: Sequence[str] | None = None,
        weights: Path | None = None,
    ) -> None:
        if not isinstance(phase, int):  # the old order
            weights, phase, level = phase, level, 0
        if not (isinstance(phase, int) and isinstance(level, int)):
            raise TypeError("Net(network_file, phase) or Net(network_file, weights, phase)")
        param = read_net(network_file)
        net = engine.Net(param, phase, level, stages or (), mode.seed())
        net.to(mode.device())
        net.precision = mode.precision()
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
        self.blobs = blobs_of(net)
        self._passes = Passes(net, self.blobs)
        self._show_params()

    def _show_params(self) -> None:
        shown: dict[int, ParamBlob] = {}  # shared blobs are one blob
        self.layers: list[Any] = []
        self.params: OrderedDict[str, BlobVec] = OrderedDict()
        for name, layer in zip(self._layer_names, self._net.layers):
            blobs = [shown.setdefault(id(own), ParamBlob(own)) for own in layer.own_blobs]
            for i, shape in layer.views.items():
                blobs[i] = ReshapedBlob(blobs[i], shape)
            view = LayerView(layer.param.type, BlobVec(blobs))
            if isinstance(layer, PythonLayer):
                layer.show_params()
            self.layers.append(layer.instance if isinstance(layer, PythonLayer) else view)
            if blobs:
                self.params[name] = view.blobs
        self.layer_dict = OrderedDict(zip(self._layer_names, self.layers))

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
        return OrderedDict(zip(self.blobs, self._blob_loss_weights))

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
        if inputs:
            self._fill("data", self.inputs, "inputs", inputs)
        layers = range(
            0 if start is None else self._index(start),
            len(self._net.layers) if end is None else self._index(end) + 1,
        )
        self.push()
        self._passes.forward(layers)
        wanted = self.outputs if end is None else self.top_names[end]
        return {blob: self._blob(blob).data for blob in (*wanted, *(blobs or ()))}

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

        Args:
            diffs: Names of further blobs whose gradient to return.
            start: First layer to go back through; the last one by default.
            end: Last layer to go back through; its bottoms are returned then.
            seeds: Arrays for the diffs of the output blobs.

        Returns:
            Gradients of the inputs (or of the bottoms of ``end``) and of ``diffs``, by name.
        """
        if seeds:
            self._fill("diff", self.outputs, "outputs", seeds)
        layers = range(
            0 if end is None else self._index(end),
            len(self._net.layers) if start is None else self._index(start) + 1,
        )
        self.push()
        self._passes.backward(layers)
        self.pull()
        wanted = self.inputs if end is None else self.bottom_names[end]
        return {blob: self._blob(blob).diff for blob in (*wanted, *(diffs or ()))}

    def forward_all(
        self, blobs: Iterable[str] | None = None, **inputs: npt.ArrayLike
    ) -> dict[str, Array]:
        """Run the net over any number of samples, batch by batch.

        Args:
            blobs: Names of further blobs to return.
            inputs: Arrays (samples, ...) for the input blobs.

        Returns:
            Copies of outputs and ``blobs``, one row per sample, by name.
        """
        sized = self._sized(inputs)
        outs = [_copies(self.forward(blobs, **batch)) for batch in batches(sized)]
        return collect(outs, _samples(sized))

    def forward_backward_all(
        self,
        blobs: Iterable[str] | None = None,
        diffs: Iterable[str] | None = None,
        **arrays: npt.ArrayLike,
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Run forward and backward over any number of samples, batch by batch.

        Args:
            blobs: Names of further blobs to return.
            diffs: Names of further blobs whose gradient to return.
            arrays: Arrays (samples, ...) for input blobs, and for the diffs of output blobs.

        Returns:
            Copies of the outputs, and of the gradients, one row per sample, by name.
        """
        sized = self._sized(arrays)
        outs, grads = [], []
        for batch in batches(sized):
            given = {name: batch.pop(name) for name in self.inputs if name in batch}
            outs.append(_copies(self.forward(blobs, **given)))
            grads.append(_copies(self.backward(diffs, **batch)))
        return collect(outs, _samples(sized)), collect(grads, _samples(sized))

    def feed(self) -> dict[str, Tensor]:
        """Return what the blobs of the Input layers hold, as tensors where the net computes."""
        return {blob: self.blobs[blob].as_tensor(self._net.device) for blob in self.inputs}

    def before_each_pass(self, call: Callable[[], None]) -> None:
        """Let ``call`` be called before each pass that a solver makes through this net."""
        self._net.register_forward_pre_hook(lambda net, args: call())

    def set_input_arrays(self, data: npt.ArrayLike, labels: npt.ArrayLike) -> None:
        """Let the MemoryData layer that the net begins with serve these arrays.

        Args:
            data: (R, C, H, W), R a multiple of the batch size.
            labels: (R,) or (R, 1, 1, 1).

        Raises:
            UserError: The net begins with another layer, or the arrays do not fit.
        """
        first = next(iter(self._net.layers), None)
        if not isinstance(first, MemoryData):
            raise UserError(
                f"net '{self._net.name}': set_input_arrays needs a net whose first layer is "
                "MemoryData; write into net.blobs[...].data of an Input layer instead"
            )
        first.set_arrays(data, labels)

    def clear_param_diffs(self) -> None:
        """Set the gradients of all parameters to zero."""
        for param in self._net.params:
            param.tensor.grad = None
        self.pull()

    def reshape(self) -> None:
        """Propagate the shapes of the input blobs through the net."""
        net = self._net
        for node, layer in zip(net.graph.nodes, net.layers):
            bottoms = [net.shapes[value] for value in node.bottoms]
            if isinstance(layer, Input):
                shapes = [self.blobs[top].shape for top in node.layer.top]
            elif isinstance(layer, PythonLayer):
                shapes = layer.reshaped(bottoms)
            elif isinstance(layer, DummyData):
                shapes = [
                    self.blobs[top].shape if i in layer.constants else layer.top_shapes[i]
                    for i, top in enumerate(node.layer.top)
                ]
            elif isinstance(layer, Source):
                continue
            else:
                shapes = list(spec_of(node.layer, bottoms).tops)
            for value, shape in zip(node.tops, shapes):
                net.shapes[value] = shape
        for blob, value in net.graph.last.items():
            if self.blobs[blob].shape != net.shapes[value]:
                self.blobs[blob].reshape(*net.shapes[value])

    def copy_from(self, path: Path) -> None:
        """Copy weights from a ``.caffemodel``, by layer name."""
        load_weights(self._net, path)
        self.pull()

    def share_with(self, other: Net) -> None:
        """Use the parameters of ``other`` from now on, by layer name."""
        other.push()
        self._net.share_with(other._net)
        self._show_params()

    def save(self, path: Path) -> None:
        """Write the weights as a ``.caffemodel``."""
        self.push()
        save_weights(self._net, path)

    def save_hdf5(self, path: Path) -> None:
        """Write the weights as HDF5, whatever ``path`` ends in."""
        self.push()
        hdf5.write_model(path, to_message(self._net, shared=False))

    def load_hdf5(self, path: Path) -> None:
        """Copy weights from an HDF5 file, by layer name."""
        self.copy_from(path)

    def _fill(
        self, kind: str, names: list[str], what: str, arrays: dict[str, npt.ArrayLike]
    ) -> None:
        """Write ``arrays`` into the data or diff of the blobs that must be given."""
        if set(arrays) != set(names):
            raise UserError(
                f"net '{self._net.name}': its {what} are {names}, but got {sorted(arrays)}"
            )
        for name, array in arrays.items():
            blob = self.blobs[name]
            try:
                getattr(blob, kind)[...] = array
            except ValueError as error:
                raise UserError(
                    f"net '{self._net.name}': blob '{name}' has shape {blob.shape}, "
                    f"but got {np.shape(array)}: reshape it first"
                ) from error

    def _sized(self, arrays: dict[str, npt.ArrayLike]) -> dict[str, tuple[Array, int]]:
        """Pair each array with the batch size of its blob."""
        return {
            name: (np.asarray(array, np.float32), self._blob(name).num)
            for name, array in arrays.items()
        }

    def push(self) -> None:
        """Bring what somebody wrote into parameters to the device."""
        for blobs in self.params.values():
            for blob in blobs:
                blob.push()

    def pull(self) -> None:
        """Show what changed the parameters in the arrays that somebody holds."""
        for blobs in self.params.values():
            for blob in blobs:
                blob.pull()

    def _blob(self, name: str) -> Blob:
        if name not in self.blobs:
            raise UserError(f"net '{self._net.name}': no blob '{name}'{nearest(name, self.blobs)}")
        return self.blobs[name]

    def _index(self, layer: str) -> int:
        names = self._layer_names
        if layer not in names:
            raise UserError(f"net '{self._net.name}': no layer '{layer}'{nearest(layer, names)}")
        return names.index(layer)


def _copies(arrays: dict[str, Array]) -> dict[str, Array]:
    return {name: array.copy() for name, array in arrays.items()}


def _samples(sized: dict[str, tuple[Array, int]]) -> int:
    return max((len(array) for array, _ in sized.values()), default=0)
