"""Where two engines differ, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.caffeproto import caffe_pb2 as pb

Array = npt.NDArray[np.float32]
Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Tolerance:
    """Largest error that counts as equal, as a share of the largest value of the same blob.

    Attributes:
        forward: Of what a layer makes, and of statistics that it keeps.
        backward: Of gradients.
        step: Of what one solver step changes. A step is small beside the weights, whose last
            bits blur it: hence the coarser bound.
    """

    forward: float = 1e-4
    backward: float = 3e-4
    step: float = 1e-2


@dataclass(frozen=True)
class Error:
    """How far two arrays are apart.

    Attributes:
        what: The array, e.g. "top 'conv1'" or "gradient of blob 0".
        share: Largest difference over the largest value; infinite where a shape differs or one
            has NaN where the other has none.
        absolute: Largest difference.
    """

    what: str
    share: float
    absolute: float


@dataclass(frozen=True)
class Row:
    """The worst errors of one layer; None where there is nothing to compare."""

    layer: str
    type: str
    forward: Error | None = None
    backward: Error | None = None
    steps: tuple[Error, ...] = ()


@dataclass(frozen=True)
class Difference:
    """The first layer that differs: in forward, else in backward, else in a step."""

    layer: str
    type: str
    when: str
    error: Error


def error_of(what: str, one: Array, two: Array) -> Error:
    """Measure how far ``two`` is from ``one``; NaN equals NaN, and infinity itself."""
    if one.shape != two.shape:
        return Error(f"{what}: shape {one.shape} and {two.shape}", math.inf, math.inf)
    same = (one == two) | (np.isnan(one) & np.isnan(two))
    if same.all():
        return Error(what, 0.0, 0.0)
    with np.errstate(invalid="ignore"):
        apart = np.abs(one[~same].astype(np.float64) - two[~same])
    if not np.isfinite(apart).all():
        return Error(what, math.inf, math.inf)
    largest = float(max(np.abs(one[np.isfinite(one)]).max(), np.abs(two[np.isfinite(two)]).max()))
    worst = float(apart.max())
    return Error(what, worst / largest, worst)


def step_error(
    what: str,
    before: tuple[Array, Array],
    after: tuple[Array, Array],
) -> Error:
    """Measure how far apart the moves of a parameter are, of the first and the second engine.

    The error is a share of the larger move; moves below 1e-5 of the weights are rounding.
    """
    moves = [a.astype(np.float64) - b for a, b in zip(after, before)]
    floor = 1e-5 * max(float(np.abs(array).max(initial=0)) for array in before)
    largest = max(floor, *(float(np.abs(move).max(initial=0)) for move in moves))
    worst = float(np.abs(moves[0] - moves[1]).max(initial=0))
    if not math.isfinite(worst):
        return error_of(what, after[0], after[1])
    return Error(what, worst / largest if largest else 0.0, worst)


def compare(net: pb.NetParameter, one: Arrays, two: Arrays, steps: int) -> list[Row]:
    """Return a row for each layer of the frozen ``net``, in the order in which they run."""
    return [
        Row(
            layer.name,
            layer.type,
            _worst(_forward(layer, one, two)),
            _worst(_backward(layer, one, two)),
            tuple(error for k in range(steps) if (error := _step(layer, one, two, k + 1))),
        )
        for layer in net.layer
        if not layer.name.endswith("@split") and layer.type != "Input"
    ]


def first_difference(rows: list[Row], tolerance: Tolerance) -> Difference | None:
    """Return the first layer that differs, in the order in which values are computed."""
    for row in rows:
        if row.forward and row.forward.share > tolerance.forward:
            return Difference(row.layer, row.type, "forward", row.forward)
    for row in reversed(rows):
        if row.backward and row.backward.share > tolerance.backward:
            return Difference(row.layer, row.type, "backward", row.backward)
    for number in range(max((len(row.steps) for row in rows), default=0)):
        for row in rows:
            if number < len(row.steps) and row.steps[number].share > tolerance.step:
                return Difference(row.layer, row.type, f"step {number + 1}", row.steps[number])
    return None


def _forward(layer: pb.LayerParameter, one: Arrays, two: Arrays) -> Iterator[Error]:
    for top in layer.top:
        yield error_of(f"top '{top}'", one[f"data/{top}"], two[f"data/{top}"])
    for key in _own(layer, "state", one):
        yield error_of(f"blob {key.rpartition('/')[2]} after the pass", one[key], two[key])


def _backward(layer: pb.LayerParameter, one: Arrays, two: Arrays) -> Iterator[Error]:
    for bottom in layer.bottom:
        if (key := f"diff/{bottom}") in one:
            yield error_of(
                f"gradient of bottom '{bottom.partition('@split')[0]}'", one[key], two[key]
            )
    for key in _own(layer, "gradient", one):
        yield error_of(f"gradient of blob {key.rpartition('/')[2]}", one[key], two[key])


def _step(layer: pb.LayerParameter, one: Arrays, two: Arrays, number: int) -> Error | None:
    errors = []
    for key in _own(layer, f"step{number}", one):
        before = key.replace(f"step{number}", f"step{number - 1}", 1)
        moves = (one[before], two[before]), (one[key], two[key])
        errors.append(step_error(f"move of blob {key.rpartition('/')[2]}", *moves))
    return _worst(errors)


def _own(layer: pb.LayerParameter, kind: str, arrays: Arrays) -> list[str]:
    """Keys of ``kind`` of the layer's parameter blobs; names of layers may contain slashes."""
    start = f"{kind}/{layer.name}/"
    return sorted(k for k in arrays if k.startswith(start) and k[len(start) :].isdigit())


def _worst(errors: Iterator[Error] | list[Error]) -> Error | None:
    return max(errors, key=lambda error: error.share, default=None)
