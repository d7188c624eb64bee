"""Binary files through the readers: complete, cut short, spoilt, or of another kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from scratchdet_caffe.caffeproto import (
    array_of,
    blob_of,
    read_model,
    read_net,
    read_state,
    write_model,
    write_state,
)
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.errors import UserError

MODEL = pb.NetParameter(name="n")
MODEL.layer.add(name="conv", type="Convolution", blobs=[blob_of(np.arange(6.0).reshape(2, 3))])
OLD = pb.NetParameter()
OLD.layers.add(name="conv", type=pb.V1LayerParameter.CONVOLUTION).blobs.add(
    num=1, channels=1, height=2, width=3, data=range(6)
)
STATE = pb.SolverState(iter=3, learned_net="n.caffemodel", history=[blob_of(np.ones(4))])


def test_what_is_written_reads_back_equal(tmp_path: Path) -> None:
    for end in ("", ".h5"):
        write_state(tmp_path / f"s{end}", STATE)
        write_model(tmp_path / f"m{end}", MODEL)
        assert read_state(tmp_path / f"s{end}").history == STATE.history
        assert read_model(tmp_path / f"m{end}").layer[0].blobs == MODEL.layer[0].blobs
    assert read_state(tmp_path / "s") == STATE
    assert read_model(tmp_path / "m") == MODEL


def test_v1_weights_come_back_in_the_present_format(tmp_path: Path) -> None:
    write_model(tmp_path / "old", OLD)
    (layer,) = read_model(tmp_path / "old").layer
    assert (layer.name, layer.type) == ("conv", "Convolution")
    np.testing.assert_array_equal(array_of(layer.blobs[0]), np.arange(6).reshape(1, 1, 2, 3))


@pytest.mark.parametrize("message", [MODEL, OLD, STATE], ids=["model", "v1", "state"])
def test_a_file_cut_anywhere_gives_a_message_or_a_sentence(message, tmp_path: Path) -> None:
    """A cut between two fields looks complete: there, what is left must be whole layers."""
    path, whole = tmp_path / "cut", message.SerializeToString()
    read = read_state if message is STATE else read_model
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        try:
            rest = read(path)
        except UserError as error:
            assert str(error).startswith(f"{path}: not a complete binary")
        else:
            assert not getattr(rest, "layer", getattr(rest, "history", ()))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60), st.integers(0, 200), st.booleans())
@example(b"\x80", 4, True)  # in names
@example(b"\x80", 8, False)
def test_any_bytes_give_a_message_or_a_sentence(
    tmp_path: Path, noise: bytes, at: int, old: bool
) -> None:
    path = tmp_path / "noise"
    whole = (OLD if old else MODEL).SerializeToString()
    path.write_bytes(whole[:at] + noise + whole[at + len(noise) :])
    for read in (read_model, read_state, read_net):
        try:
            message = read(path)
        except UserError as error:
            assert str(path) in str(error)
        else:
            assert all(isinstance(layer.name, str) for layer in getattr(message, "layer", ()))


def test_a_missing_file_says_what_it_was_wanted_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none: cannot read this weights file: No such file"):
        read_model(tmp_path / "none")
    with pytest.raises(UserError, match="none: cannot read this solver state: No such file"):
        read_state(tmp_path / "none")
