"""RNN, LSTM and LSTMUnit: T steps of N streams, unrolled.

A mark (T, N) of 0 says that a new sequence starts there: what came before counts as 0. Without
``expose_hidden`` the state after the last step is the one before the first step of the next pass;
gradients do not flow between passes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.layers.base import Context, Layer, Tops, layer, rows
from scratchdet_caffe.engine.layers.gradients import refuse_unforced
from scratchdet_caffe.engine.shapes.recurrent import STATES, has_static
from scratchdet_caffe.engine.shapes.registry import Spec

_MARKS = "cannot send gradients to its continuation marks"


class Recurrent(Layer):
    """What RNN and LSTM share: inputs transformed at once, then step by step."""

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: Context) -> None:
        super().__init__(param, spec, context)
        self.states = STATES[param.type]
        self._carried: list[Tensor] = []

    def forward(self, *bottoms: Tensor) -> Tops:
        p = self.param.recurrent_param
        x, marks = bottoms[0], bottoms[1].detach()
        weights = list(self.blobs)
        inputs = F.linear(rows(x, 2), weights[0], weights[1]).reshape(*marks.shape, len(weights[1]))
        weights = weights[2:]
        if has_static(self.param, len(bottoms)):
            inputs = inputs + F.linear(rows(bottoms[2], 1), weights.pop(0))
        states = self._first_states(bottoms, x.new_zeros(x.shape[1], p.num_output))
        tops = []
        for step in range(len(x)):
            top, states = self.step(inputs[step], marks[step, :, None], states, weights)
            tops.append(top)
        self._carried = [state.detach() for state in states]
        out = refuse_unforced(self, torch.stack(tops), bottoms[1], _MARKS)
        return (out, *(state[None] for state in states))

    def _first_states(self, bottoms: Tops, zeros: Tensor) -> list[Tensor]:
        if self.param.recurrent_param.expose_hidden:
            return [state[0] for state in bottoms[len(bottoms) - self.states :]]
        # Of another batch size (the net was reshaped) they belong to other streams.
        if self._carried and self._carried[0].shape == zeros.shape:
            return [state.to(zeros) for state in self._carried]
        return [zeros] * self.states

    def step(
        self, inputs: Tensor, mark: Tensor, states: list[Tensor], weights: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the top (N, H) and the states after one step.

        Args:
            inputs: What the inputs add to the gates, (N, gates * H).
            mark: 0 where a sequence starts, else 1; (N, 1).
            states: Hidden blobs (N, H) of the step before.
            weights: The blobs from the hidden weights on.
        """
        raise self.error("has no step")


@layer("RNN")
class RNN(Recurrent):
    """h = tanh(Wh h + Wx x + b), o = tanh(Wo h + bo); blobs Wx, b, (static), Wh, Wo, bo."""

    def step(
        self, inputs: Tensor, mark: Tensor, states: list[Tensor], weights: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        hidden = torch.tanh(inputs + F.linear(states[0] * mark, weights[0]))
        return torch.tanh(F.linear(hidden, weights[1], weights[2])), [hidden]


@layer("LSTM")
class LSTM(Recurrent):
    """Long short-term memory; blobs Wx, b, (static), Wh, rows in the order of `lstm_step`."""

    def step(
        self, inputs: Tensor, mark: Tensor, states: list[Tensor], weights: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        hidden, cell = states
        gates = inputs + F.linear(hidden * mark, weights[0])
        cell, hidden = lstm_step(cell, gates, mark)
        return hidden, [hidden, cell]


def lstm_step(cell: Tensor, gates: Tensor, mark: Tensor) -> tuple[Tensor, Tensor]:
    """Return the next cell and hidden values (N, H).

    Args:
        cell: (N, H).
        gates: Input, forget, output gate and candidate before their sigmoids and tanh, (N, 4 H).
        mark: 0 where a sequence starts, else 1; (N, 1).
    """
    write, keep, show, new = gates.chunk(4, -1)
    cell = keep.sigmoid() * mark * cell + write.sigmoid() * new.tanh()
    return cell, show.sigmoid() * cell.tanh()


@layer("LSTMUnit")
class LSTMUnit(Layer):
    """One step of an LSTM: (cell, gates, marks) to the next (cell, hidden)."""

    def forward(self, *bottoms: Tensor) -> Tops:
        cell, gates, marks = bottoms
        cell, hidden = lstm_step(cell[0], gates[0], marks.detach()[0, :, None])
        return tuple(refuse_unforced(self, top[None], marks, _MARKS) for top in (cell, hidden))
