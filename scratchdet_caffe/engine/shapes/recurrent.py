"""Shapes of RNN, LSTM and LSTMUnit: T steps of N streams."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.shapes.registry import Shape, Spec, arity, check, rule

#: Hidden blobs that a step hands to the next one, and gates that a step computes.
STATES = {"RNN": 1, "LSTM": 2}
GATES = {"RNN": 1, "LSTM": 4}


def has_static(layer: pb.LayerParameter, bottoms: int) -> bool:
    """Tell whether the third bottom is an input that stays the same over all steps."""
    hidden = STATES[layer.type] if layer.recurrent_param.expose_hidden else 0
    return bottoms - hidden == 3


@rule("RNN", "LSTM")
def recurrent(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """RNN and LSTM: (T, N, ...) and continuation marks (T, N) to (T, N, H).

    A third bottom (N, ...) may give an input that stays the same over all steps. With
    ``expose_hidden`` the states before the first step are further bottoms, those after the last
    one further tops, each (1, N, H).
    """
    p = layer.recurrent_param
    hidden = STATES[layer.type] if p.expose_hidden else 0
    arity(layer, bottoms, 2 + hidden, 3 + hidden)
    x, marks = bottoms[:2]
    check(layer, p.num_output > 0, "recurrent_param.num_output must be at least 1")
    check(layer, len(x) >= 3, f"takes steps of streams, (T, N, ...), not {x}")
    check(layer, x[0] > 0, "needs at least one step")
    check(layer, marks == x[:2], f"continuation marks must be {x[:2]}, not {marks}")
    check(
        layer,
        len(layer.top) == 1 + hidden,
        f"needs {1 + hidden} tops here, but has {len(layer.top)}",
    )
    state = (1, x[1], p.num_output)
    for shape in bottoms[len(bottoms) - hidden :] if hidden else ():
        check(layer, shape == state, f"a hidden state must be {state}, not {shape}")
    rows = GATES[layer.type] * p.num_output
    weights: list[Shape] = [(rows, math.prod(x[2:])), (rows,)]
    if has_static(layer, len(bottoms)):
        static = bottoms[2]
        check(layer, static[:1] == (x[1],), f"needs {x[1]} items of static input, not {static}")
        weights.append((rows, math.prod(static[1:])))
    weights.append((rows, p.num_output))
    if layer.type == "RNN":
        weights += [(p.num_output, p.num_output), (p.num_output,)]
    return Spec(
        tops=((*x[:2], p.num_output), *[state] * hidden),
        params=tuple(weights),
        fillers=tuple(p.weight_filler if len(w) == 2 else p.bias_filler for w in weights),
        flops=2 * x[0] * x[1] * sum(math.prod(w) for w in weights),
    )


@rule("LSTMUnit")
def lstm_unit(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """LSTMUnit: cell (1, N, H), gates (1, N, 4 H) and marks (1, N) to the next cell and hidden."""
    arity(layer, bottoms, 3)
    cell, gates, marks = bottoms
    check(
        layer,
        len(cell) == 3 and cell[0] == 1 and gates == (1, cell[1], 4 * cell[2]),
        f"takes a cell (1, N, H) and gates (1, N, 4 H), not {cell} and {gates}",
    )
    check(layer, marks == cell[:2], f"continuation marks must be {cell[:2]}, not {marks}")
    check(layer, len(layer.top) == 2, f"needs 2 tops, but has {len(layer.top)}")
    return Spec(tops=(cell, cell), flops=8 * math.prod(cell))
