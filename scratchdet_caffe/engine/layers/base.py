"""The contract of a layer at run time, and the registry of layer classes.

A layer is built once from its prototxt message and its `Spec` (see ``engine.shapes``), and then
maps bottom tensors to top tensors. It must not rely on the bottom shapes it was built with
beyond those that fix its parameters: nets are reshaped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.random import generator
from scratchdet_caffe.engine.shapes.registry import LayerError, Spec

Tops = tuple[Tensor, ...]


@dataclass
class Context:
    """What a layer needs to know of the net it stands in.

    Attributes:
        phase: ``pb.TRAIN`` or ``pb.TEST``: how the layer starts; `train()` and `eval()` move on.
        seed: The run's seed; a layer derives its own generators from it.
        propagate_down: Per bottom, whether a gradient has to go there.
        force_backward: Whether the net wants gradients everywhere, whoever learns.
        shard: Rank and number of the processes that share the records of data layers.
        pool: Makes of a count the mean over all processes, 1 / world or more; see `valid`.
    """

    phase: int
    seed: int = 0
    propagate_down: list[bool] = field(default_factory=list)
    force_backward: bool = False
    shard: tuple[int, int] = (0, 1)
    pool: Callable[[Tensor], Tensor] | None = None

    def valid(self, count: Tensor) -> Tensor:
        """Return what a loss with ``normalization: VALID`` is divided by: the count, or 1.

        As on each of Caffe's GPUs it is this process's own; with `pool`, one for all processes, so
        that the mean of their losses is the loss of one batch of all their records.
        """
        return count.clamp(min=1) if self.pool is None else self.pool(count)

    def generator(self, *purpose: object) -> torch.Generator:
        """Return a generator for ``purpose``; each process draws its own numbers."""
        rank = self.shard[0]
        return generator(self.seed, *purpose, *(("rank", rank) if rank else ()))


class Layer(nn.Module):
    """A Caffe layer: parameters named "0", "1", ... and ``forward(*bottoms) -> tops``.

    Subclasses override `forward`. Learnable blobs are parameters; blobs that only carry
    statistics are buffers (`learnable` says which is which, before they are made).
    """

    #: Whether the parameter blobs take part in learning (BatchNorm's do not).
    learnable = True
    #: Whether it may be given half floats under autocast; else it gets and computes float32.
    takes_half = False
    #: Losses have weight 1 on their first top unless the prototxt says otherwise.
    is_loss = False

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: Context) -> None:
        super().__init__()
        self.param = param
        self.context = context
        self.training = context.phase == pb.TRAIN
        for i, shape in enumerate(spec.params):
            blob = torch.zeros(shape)
            if self.learnable:
                self.register_parameter(str(i), nn.Parameter(blob))
            else:
                self.register_buffer(str(i), blob)
        self.num_blobs = len(spec.params)
        self.fillers = spec.fillers
        #: Shapes of blobs that are another layer's and have another shape there.
        self.views: dict[int, tuple[int, ...]] = {}

    @property
    def own_blobs(self) -> list[Tensor]:
        """The parameter blobs, one that is shared as the layer that owns it has it."""
        blobs = self._parameters if self.learnable else self._buffers
        return [blob for blob in blobs.values() if blob is not None]

    def own_blob(self, index: int) -> Tensor:
        """Return ``own_blobs[index]``, sooner."""
        blob = (self._parameters if self.learnable else self._buffers)[str(index)]
        assert blob is not None
        return blob

    @property
    def blobs(self) -> list[Tensor]:
        """The parameter blobs in the order and the shapes of the ``.caffemodel``."""
        blobs = self.own_blobs
        for i, shape in self.views.items():
            blobs[i] = blobs[i].reshape(shape)
        return blobs

    def error(self, message: str) -> LayerError:
        """Return the error to raise for ``message``, naming this layer."""
        return LayerError(self.param, message)

    def forward(self, *bottoms: Tensor) -> Tops:
        """Return one tensor per top (more than the prototxt names are dropped)."""
        raise self.error("has no forward pass")


class Drawing(Layer):
    """A layer that draws, records or random numbers, and knows how far it has come.

    `position` counts what was drawn since the start of the run; setting it seeks, so that a
    resumed run continues with what comes next.
    """

    position: int

    @property
    def per_pass(self) -> int:
        """How far one forward pass moves `position`."""
        return 1

    def note(self) -> str:
        """Return a line for the log on what was drawn since the last call, if there is one."""
        return ""

    def reseed(self, seed: int) -> None:
        """Draw all randomness from ``seed``, a run's seed, from now on."""
        self.context.seed = seed


def rows(x: Tensor, axis: int) -> Tensor:
    """Return ``x`` as a matrix: the axes before ``axis`` by those from it on; none may be empty."""
    return x.reshape(x.shape[:axis].numel(), x.shape[axis:].numel())


_LAYERS: dict[str, type[Layer]] = {}


def layer(*types: str) -> Callable[[type[Layer]], type[Layer]]:
    """Register the decorated class for the Caffe layer ``types``."""

    def register(cls: type[Layer]) -> type[Layer]:
        for name in types:
            _LAYERS[name] = cls
        return cls

    return register


def layer_class(param: pb.LayerParameter) -> type[Layer]:
    """Return the class registered for the type of ``param``."""
    if param.type not in _LAYERS:
        raise LayerError(param, "this layer type cannot be run by the embedded engine")
    return _LAYERS[param.type]


def loss_types() -> frozenset[str]:
    """Return the layer types whose first top is a loss by default."""
    return frozenset(name for name, cls in _LAYERS.items() if cls.is_loss)


def layer_types() -> list[str]:
    """Return the registered layer types, sorted."""
    return sorted(_LAYERS)
