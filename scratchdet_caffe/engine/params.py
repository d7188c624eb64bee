"""The parameter blobs that a net owns, and which layers share them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.errors import LayerError
from scratchdet_caffe.engine.fillers import fill
from scratchdet_caffe.engine.layers import Layer
from scratchdet_caffe.engine.random import generator
from scratchdet_caffe.errors import UserError


@dataclass
class Param:
    """A parameter blob that the net owns.

    Attributes:
        owner: The layer that owns it (others may share it).
        index: Its place among the blobs of that layer.
        lr_mult: Its learning rate is the solver's times this; 0 keeps it fixed.
        decay_mult: Its weight decay is the solver's times this.
        reshaped: Whether a layer that shares it sees it in another shape.
    """

    owner: Layer
    index: int
    lr_mult: float
    decay_mult: float
    reshaped: bool = False

    @property
    def tensor(self) -> Tensor:
        """The blob itself."""
        return self.owner.own_blob(self.index)

    @property
    def layer(self) -> str:
        """Name of the layer that owns it."""
        return self.owner.param.name


def share_and_fill(layers: Sequence[Layer], seed: int) -> list[Param]:
    """Start every blob; let layers whose params have one name use the first one's blob.

    Args:
        layers: The layers of a net, in order.
        seed: Where weights draw their randomness from.

    Returns:
        The blobs that are left, in the order in which they were made.

    Raises:
        LayerError: Blobs of one name differ in shape (or, with ``share_mode: PERMISSIVE``, in
            count) or in what they say of ``lr_mult`` or ``decay_mult``.
    """
    params: list[Param] = []
    named: dict[str, _Named] = {}
    for layer in layers:
        for i, _ in enumerate(layer.own_blobs):
            spec = layer.param.param[i] if i < len(layer.param.param) else pb.ParamSpec()
            if known := named.get(spec.name):
                known.share(layer, i, spec)
                continue
            _fill(layer, i, seed)
            lr = spec.lr_mult if layer.learnable else 0.0
            params.append(Param(layer, i, lr, spec.decay_mult))
            if spec.name:
                named[spec.name] = _Named(params[-1], spec)
    return params


class _Named:
    """A blob with a name, and who has said what of its multipliers."""

    def __init__(self, param: Param, spec: pb.ParamSpec) -> None:
        self.param, self.name = param, spec.name
        self.said = {mult for mult in ("lr_mult", "decay_mult") if spec.HasField(mult)}

    def share(self, layer: Layer, index: int, spec: pb.ParamSpec) -> None:
        """Let ``layer`` use the blob as its own number ``index``."""
        ours, theirs = self.param.tensor, layer.own_blobs[index]
        permissive = spec.share_mode == pb.ParamSpec.PERMISSIVE
        same = ours.numel() == theirs.numel() if permissive else ours.shape == theirs.shape
        if not same:
            raise LayerError(
                layer.param,
                f"cannot share param '{self.name}' of layer '{self.param.layer}': "
                f"{'counts' if permissive else 'shapes'} differ, "
                f"{tuple(ours.shape)} and {tuple(theirs.shape)}",
            )
        for mult in ("lr_mult", "decay_mult"):
            if not spec.HasField(mult):
                continue
            value, before = getattr(spec, mult), getattr(self.param, mult)
            if mult in self.said and value != before:
                raise LayerError(
                    layer.param,
                    f"shares param '{self.name}' with layer '{self.param.layer}', but with "
                    f"{mult} {value:g}, not {before:g}",
                )
            setattr(self.param, mult, value)
            self.said.add(mult)
        if ours.shape != theirs.shape:
            layer.views[index] = tuple(theirs.shape)
            self.param.reshaped = True
        setattr(layer, str(index), ours)


def _fill(layer: Layer, index: int, seed: int) -> None:
    filler = layer.fillers[index]
    if filler is None:
        return
    try:
        fill(layer.own_blobs[index].data, filler, generator(seed, "init", layer.param.name, index))
    except UserError as error:
        raise layer.error(str(error)) from error
