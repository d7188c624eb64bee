"""Solvers that cannot be: a sentence before anything is built."""

from __future__ import annotations

import pytest

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.checks import check_solver
from scratchdet_caffe.engine.solver import Solver
from scratchdet_caffe.errors import UserError


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"iter_size": 0}, "iter_size must be at least 1"),
        ({"average_loss": 0}, "average_loss must be at least 1"),
        ({"regularization_type": "L3"}, "regularization_type must be L1 or L2"),
        ({"test_iter": [3, -1]}, "test_iter must not be negative"),
        ({"type": "AdaGrad", "momentum": 0.9}, "type 'AdaGrad' has no momentum"),
        ({"type": "RMSProp", "momentum": 0.9}, "type 'RMSProp' has no momentum"),
        ({"type": "RMSProp", "rms_decay": 1.0}, "rms_decay must be from 0 to below 1, not 1"),
        ({"type": "sgd"}, "unknown type 'sgd' .did you mean 'SGD'"),
        ({"snapshot": 5}, "snapshot is given, but no snapshot_prefix"),
    ],
)
def test_contradictions_are_sentences(fields: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=f"solver: {sentence}"):
        Solver(pb.SolverParameter(base_lr=1, lr_policy="fixed", **fields))


def test_snapshots_have_a_place_before_training_starts(tmp_path) -> None:
    check_solver(pb.SolverParameter(snapshot=5, snapshot_prefix=str(tmp_path / "deep" / "snap")))
    assert list((tmp_path / "deep").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"solver: cannot write snapshots to '.*snap'"):
        prefix = str(tmp_path / "file" / "snap")
        check_solver(pb.SolverParameter(snapshot=5, snapshot_prefix=prefix))
