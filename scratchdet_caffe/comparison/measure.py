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

#: What stands for an array that one engine does not have.
_NOTHING: Array = np.zeros(0, np.float32)


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
    """The worst errors of one layer; None where there is nothing to compare.

    Attributes:
        whole: Of what it makes in a pass of the whole net, where errors add up. To look at: it
            does not count.
        forward: Of what it makes by itself, from the first engine's values.
        backward: Of its gradients, likewise.
        steps: Of what solver steps change, one each.
    """

    layer: str
    type: str
    whole: Error | None = None
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


def step_error(what: str, before: Array, after: tuple[Array, Array]) -> Error:
    """Measure how far apart the two engines' moves of a parameter are that both began ``before``.

    The error is a share of the larger move; moves below 1e-5 of the weights are rounding.
    """
    if before.shape != after[1].shape:
        return error_of(what, *after)
    moves = [array.astype(np.float64) - before for array in after]
    floor = 1e-5 * float(np.abs(before).max(initial=0))
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
            _worst(_whole(layer, one, two)),
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


def _whole(layer: pb.LayerParameter, one: Arrays, two: Arrays) -> Iterator[Error]:
    for top in layer.top:
        if (key := f"whole/{top}") in two:
            yield _pair(f"top '{top}' in a whole pass", one, two, f"data/{top}", key)


def _forward(layer: pb.LayerParameter, one: Arrays, two: Arrays) -> Iterator[Error]:
    for top in layer.top:
        yield _pair(f"top '{top}'", one, two, f"data/{top}")
    for key in _own(layer, "state", one, two):
        yield _pair(f"blob {key.rpartition('/')[2]} after the pass", one, two, key)


def _backward(layer: pb.LayerParameter, one: Arrays, two: Arrays) -> Iterator[Error]:
    for bottom in layer.bottom:
        if (key := f"diff/{bottom}") in one:
            yield _pair(f"gradient of bottom '{bottom.partition('@split')[0]}'", one, two, key)
    for key in _own(layer, "gradient", one, two):
        yield _pair(f"gradient of blob {key.rpartition('/')[2]}", one, two, key)


def _step(layer: pb.LayerParameter, one: Arrays, two: Arrays, number: int) -> Error | None:
    errors = []
    for key in _own(layer, f"step{number}", one, two):
        before = one.get(key.replace(f"step{number}", f"step{number - 1}", 1), _NOTHING)
        after = one.get(key, _NOTHING), two.get(key, _NOTHING)
        errors.append(step_error(f"move of blob {key.rpartition('/')[2]}", before, after))
    return _worst(errors)


def _pair(what: str, one: Arrays, two: Arrays, key: str, other: str | None = None) -> Error:
    return error_of(what, one.get(key, _NOTHING), two.get(other or key, _NOTHING))


def _own(layer: pb.LayerParameter, kind: str, *engines: Arrays) -> list[str]:
    """Keys of ``kind`` of the layer's parameter blobs; names of layers may contain slashes."""
    start = f"{kind}/{layer.name}/"
    keys = {key for arrays in engines for key in arrays}
    return sorted(k for k in keys if k.startswith(start) and k[len(start) :].isdigit())


def _worst(errors: Iterator[Error] | list[Error]) -> Error | None:
    return max(errors, key=lambda error: error.share, default=None)
