"""Layers written in Python: the base class ``caffe.Layer``, and how the engine runs them.

layer {
  name: "loss" type: "Python" bottom: "score" bottom: "label" top: "loss" loss_weight: 1
  python_param { module: "my_layers" layer: "MyLoss" param_str: "{'margin': 1}" }
}
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.errors import LayerError
from scratchdet_caffe.engine.layers import base as engine
from scratchdet_caffe.engine.shapes.registry import Shape, Spec, rule
from scratchdet_caffe.errors import nearest
from scratchdet_caffe.pycaffe import mode
from scratchdet_caffe.pycaffe.blob import Blob, BlobVec


class Layer:
    """Base class of layers written in Python; override its four methods.

    ``bottom`` and ``top`` are lists of blobs with ``data``, ``diff``, ``shape`` and
    ``reshape(*shape)``.

    Attributes:
        param_str: What the prototxt says in ``python_param``, for the layer to read.
        phase: ``caffe.TRAIN`` or ``caffe.TEST``.
        blobs: Parameter blobs, made in `setup` by ``self.blobs.add_blob(*shape)``.
    """

    type = "Python"
    param_str = ""
    phase = 0
    blobs: BlobVec

    @property
    def param_str_(self) -> str:
        """What early versions called ``param_str``."""
        return self.param_str

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Called once: read ``param_str``, check the bottoms, make parameters."""

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Called before every forward: give each top its shape."""

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Write ``top[i].data``."""
        raise NotImplementedError(f"{type(self).__name__} has no forward(self, bottom, top)")

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        """Write ``bottom[i].diff`` from ``top[i].diff`` where ``propagate_down[i]``."""
        raise NotImplementedError(
            f"{type(self).__name__} has no backward(self, top, propagate_down, bottom)"
        )


@dataclass(frozen=True)
class PythonSpec(Spec):
    """The spec of a Python layer; the instance that was set up goes on into the net."""

    instance: Any = None
    top: tuple[Blob, ...] = ()


def _instance(param: pb.LayerParameter) -> Any:
    from scratchdet_caffe.pycaffe.alias import as_caffe  # which imports this module

    p = param.python_param
    try:
        with as_caffe():  # the `caffe` that the user's module imports must be this one
            module = importlib.import_module(p.module)
    except ModuleNotFoundError as error:
        raise LayerError(
            param, f"python_param.module '{p.module}' cannot be imported ({error}): set PYTHONPATH"
        ) from error
    cls = getattr(module, p.layer, None)
    if cls is None:
        known = [name for name, value in vars(module).items() if isinstance(value, type)]
        raise LayerError(
            param, f"module '{p.module}' has no class '{p.layer}'{nearest(p.layer, known)}"
        )
    if not issubclass(cls, Layer):
        raise LayerError(param, f"class '{p.layer}' does not derive from caffe.Layer")
    layer = cls()
    layer.param_str = p.param_str
    layer.blobs = BlobVec()
    return layer


@rule("Python", program=True)
def python_layer(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Python: what the class's own ``setup`` and ``reshape`` make of the bottoms."""
    instance = _instance(layer)
    instance.phase = layer.phase
    bottom, top = [Blob(shape) for shape in bottoms], [Blob(()) for _ in layer.top]
    instance.setup(bottom, top)
    instance.reshape(bottom, top)
    shapes = tuple(blob.shape for blob in top)
    params = tuple(blob.shape for blob in instance.blobs)
    return PythonSpec(shapes, params, (None,) * len(params), 0, instance, tuple(top))


@engine.layer("Python")
class PythonLayer(engine.Layer):
    """A layer that a class in a Python module computes, gradients included."""

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: engine.Context) -> None:
        super().__init__(param, spec, context)
        spec = cast(PythonSpec, spec)
        self.instance = spec.instance
        self.instance.phase = context.phase
        self.top = list(spec.top)
        for tensor, blob in zip(self.blobs, self.instance.blobs):
            tensor.data.copy_(torch.from_numpy(blob.data))

    def reshaped(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the shapes of the tops for bottoms of these shapes."""
        self.instance.reshape([Blob(shape) for shape in bottoms], self.top)
        return [blob.shape for blob in self.top]

    def forward(self, *bottoms: Tensor) -> engine.Tops:
        """Run the class; the graph keeps what its backward needs."""
        tops = _Call.apply(self, len(bottoms), *bottoms, *self.blobs)  # type: ignore[no-untyped-call]
        return cast(engine.Tops, tops)

    def run_forward(self, bottom: list[Blob]) -> list[Tensor]:
        """Run the class on ``bottom`` and return its tops, on the CPU."""
        self.show_params()
        self.instance.reshape(bottom, self.top)
        for i, blob in enumerate(self.top):
            if i < len(bottom) and self.param.top[i] == self.param.bottom[i]:
                blob.data[...] = bottom[i].data  # in place: the top begins as the bottom
        self.instance.forward(bottom, self.top)
        return [torch.tensor(blob.data) for blob in self.top]

    def run_backward(
        self, bottom: list[Blob], tops: Sequence[Tensor], grads: Sequence[Any]
    ) -> None:
        """Run the class's backward; it leaves its answer in the diffs of bottoms and blobs."""
        self.show_params()
        for blob, value, grad in zip(self.top, tops, grads):
            blob.set_value(value)
            blob.diff[...] = 0
            blob.set_diff(grad)
        self.instance.backward(self.top, list(self.context.propagate_down), bottom)

    def show_params(self) -> None:
        """Let the blobs of the class be the layer's parameters, with no gradient yet."""
        for tensor, blob in zip(self.blobs, self.instance.blobs):
            blob.share(tensor)
            blob.diff[...] = 0


class _Call(torch.autograd.Function):
    """One pass through a Python layer, as autograd sees it."""

    @staticmethod
    def forward(ctx: Any, layer: PythonLayer, count: int, *tensors: Tensor) -> engine.Tops:
        bottom = [_shown(tensor) for tensor in tensors[:count]]
        tops = layer.run_forward(bottom)
        device = tensors[0].device if tensors else mode.device()
        ctx.layer, ctx.bottom, ctx.tops, ctx.device = layer, bottom, tops, device
        return tuple(top.to(device) for top in tops)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        layer: PythonLayer = ctx.layer
        layer.run_backward(ctx.bottom, ctx.tops, grads)
        blobs = [*ctx.bottom, *layer.instance.blobs]
        back = (torch.tensor(blob.diff, device=ctx.device) for blob in blobs)
        return (None, None, *(g if n else None for g, n in zip(back, ctx.needs_input_grad[2:])))


def _shown(tensor: Tensor) -> Blob:
    blob = Blob(tuple(tensor.shape))
    blob.set_value(tensor)
    return blob
