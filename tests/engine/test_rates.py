"""Learning rate policies at the ends of the number range, and what is refused."""

from __future__ import annotations

import math

import pytest

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.rates import LearningRate
from scratchdet_caffe.errors import UserError


def rate(iteration: int, **fields: object) -> float:
    return LearningRate(pb.SolverParameter(base_lr=1, **fields)).at(iteration, 0.0)


def test_what_leaves_the_number_range_is_what_cpp_makes_of_it() -> None:
    assert rate(0, lr_policy="sigmoid", gamma=0.2, stepsize=50_000) == 0
    assert rate(10**6, lr_policy="exp", gamma=2) == math.inf
    assert math.isnan(rate(11, lr_policy="poly", power=0.5, max_iter=10))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"lr_policy": "stepp"}, "did you mean 'step'"),
        ({"lr_policy": "step", "gamma": 0.1}, "needs stepsize"),
        ({"lr_policy": "step", "gamma": 0.1, "stepsize": 0}, "stepsize must be at least 1"),
        ({"lr_policy": "multistep", "gamma": 0.1, "stepvalue": [2, 1]}, "stepvalue must rise"),
    ],
)
def test_contradictions_are_sentences(fields: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        LearningRate(pb.SolverParameter(base_lr=1, **fields))
