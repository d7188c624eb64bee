"""The table of shape rules: what a layer makes of its bottoms, without running it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.errors import LayerError
from scratchdet_caffe.engine.shapes.fillers import check_filler
from scratchdet_caffe.errors import UserError, nearest

__all__ = [
    "LayerError",
    "Rule",
    "Shape",
    "Spec",
    "arity",
    "axis_of",
    "check",
    "known_types",
    "rule",
    "spec_of",
]

Shape = tuple[int, ...]

#: Caffe counts the values of a blob in an int.
_MOST_VALUES = 2**31 - 1


@dataclass(frozen=True)
class Spec:
    """What a layer declares about itself.

    Attributes:
        tops: Shape of each top blob.
        params: Shape of each parameter blob, in the order of the `.caffemodel`.
        fillers: How each parameter blob starts; None means zeros.
        flops: Floating point operations of one forward, two per multiply-add.
    """

    tops: tuple[Shape, ...]
    params: tuple[Shape, ...] = ()
    fillers: tuple[pb.FillerParameter | None, ...] = ()
    flops: int = 0


Rule = Callable[[pb.LayerParameter, Sequence[Shape]], Spec]
_RULES: dict[str, Rule] = {}
_PROGRAMS: set[str] = set()


def rule(*types: str, program: bool = False) -> Callable[[Rule], Rule]:
    """Register the decorated function as the shape rule of the layer ``types``.

    Args:
        types: The layer types.
        program: Whether the rule runs a program of the user's to know the shapes. Such a rule is
            for nets that are run, never for nets that are only read.
    """

    def register(function: Rule) -> Rule:
        for name in types:
            _RULES[name] = function
        if program:
            _PROGRAMS.update(types)
        return function

    return register


def known_types() -> list[str]:
    """Return the layer types whose shapes are known without running a program, sorted."""
    return sorted(_RULES.keys() - _PROGRAMS)


def spec_of(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Return the `Spec` of ``layer`` on bottoms of these shapes.

    Raises:
        LayerError: Unknown type, wrong number of bottoms or tops, impossible parameters or
            fillers.
    """
    if layer.type not in _RULES:
        raise LayerError(layer, f"unknown layer type{nearest(layer.type, _RULES)}")
    spec = _RULES[layer.type](layer, bottoms)
    if len(spec.tops) < len(layer.top):
        raise LayerError(layer, f"has {len(layer.top)} tops, but makes only {len(spec.tops)}")
    for shape in (*spec.tops, *spec.params):
        check(
            layer,
            math.prod(shape) <= _MOST_VALUES,
            f"a blob of shape {shape} would hold more than {_MOST_VALUES} values",
        )
    for filler in filter(None, spec.fillers):
        try:
            check_filler(filler)
        except UserError as error:
            raise LayerError(layer, str(error)) from None
    return spec


def check(layer: pb.LayerParameter, condition: bool, message: str) -> None:
    """Raise a `LayerError` with ``message`` unless ``condition`` holds."""
    if not condition:
        raise LayerError(layer, message)


def arity(
    layer: pb.LayerParameter, bottoms: Sequence[Shape], least: int, most: int | None = None
) -> None:
    """Check that the layer has ``least`` to ``most`` bottoms (``most`` defaults to ``least``)."""
    most = least if most is None else most
    if not least <= len(bottoms) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        raise LayerError(layer, f"takes {wanted} bottom blobs, but has {len(bottoms)}")


def axis_of(layer: pb.LayerParameter, axis: int, shape: Shape) -> int:
    """Return ``axis`` (which may count from the end) as an index into ``shape``."""
    check(
        layer,
        -len(shape) <= axis < len(shape),
        f"axis {axis} is out of range for a bottom of shape {shape}",
    )
    return axis % len(shape) if shape else 0
