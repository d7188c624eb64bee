"""Files that are damaged in any way end in a message or a sentence, never in anything else."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchdet_caffe.caffeproto import (
    blob_of,
    hdf5,
    parse_text,
    read_model,
    read_net,
    read_state,
    write_model,
    write_state,
)
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.errors import UserError

TEXT = """
name: "n" input: "x" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layers { name: "conv" type: CONVOLUTION bottom: "x" top: "c" blobs_lr: 1 weight_decay: 0
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" std: 0.1 } } }
layers { layer { name: "pool" type: "pool" kernelsize: 2 pool: MAX } bottom: "c" top: "p" }
layers { name: "loss" type: SOFTMAX_LOSS bottom: "p" bottom: "x" include { phase: TRAIN } }
"""
WORDS = ["0", "-1", "4294967296", "1e400", "nan", "inf", '"x"', "{", "}", "MAX", "\0", "é", "layer"]
MODEL = pb.NetParameter(name="n")
MODEL.layer.add(name="conv", type="Convolution", blobs=[blob_of(np.ones((2, 3)))])
MODEL.layers.add(name="old", type=pb.V1LayerParameter.POOLING)
STATE = pb.SolverState(iter=3, learned_net="m", history=[blob_of(np.ones(2))] * 2)


@st.composite
def slips(draw: st.DrawFn, pieces: list) -> list:
    """``pieces`` with a few of them lost, doubled, exchanged or replaced."""
    out = list(pieces)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(out) - 1))
        other = draw(st.sampled_from([*WORDS, *out]) if isinstance(out[0], str) else st.binary())
        kind = draw(st.sampled_from(["drop", "insert", "replace"]))
        out[place : place + (kind != "insert")] = [] if kind == "drop" else [other]
        out = out or pieces[:1]
    return out


@settings(max_examples=200, deadline=None)
@given(words=slips(re.findall(r"\s+|\"[^\"]*\"|[\w.]+|.", TEXT)))
def test_any_slip_in_a_prototxt_is_a_net_or_a_sentence(words: list[str], tmp_path_factory) -> None:
    path = tmp_path_factory.getbasetemp() / "slip.prototxt"
    path.write_text("".join(words), encoding="utf-8")
    try:
        assert isinstance(read_net(path), pb.NetParameter)
    except UserError as error:
        assert str(error).startswith(str(path))
        assert "\n" not in str(error)


@settings(max_examples=300, deadline=None)
@given(pieces=slips([bytes([b]) for b in MODEL.SerializeToString()]))
def test_any_damage_of_a_caffemodel_is_a_model_or_a_sentence(pieces, tmp_path_factory) -> None:
    path = tmp_path_factory.getbasetemp() / "slip.caffemodel"
    path.write_bytes(b"".join(pieces))
    for read in (read_model, read_state):
        try:
            read(path)
        except UserError as error:
            assert str(error).startswith(str(path))


@pytest.mark.parametrize("message", [MODEL, STATE], ids=["model", "state"])
def test_a_binary_file_cut_anywhere_is_a_message_or_a_sentence(message, tmp_path: Path) -> None:
    whole = message.SerializeToString()
    read = read_model if message is MODEL else read_state
    refused = 0
    for end in range(len(whole)):
        (tmp_path / "cut").write_bytes(whole[:end])
        try:
            read(tmp_path / "cut")
        except UserError as error:
            assert str(error).startswith(str(tmp_path / "cut"))
            refused += 1
    assert refused > len(whole) / 2


@pytest.mark.parametrize("kind", ["model", "state"])
def test_an_hdf5_file_cut_at_any_byte_is_refused(kind: str, tmp_path: Path) -> None:
    if kind == "model":
        write_model(tmp_path / "f.h5", pb.NetParameter(layer=MODEL.layer))
    else:
        write_state(tmp_path / "f.h5", STATE)
    whole = (tmp_path / "f.h5").read_bytes()
    parse = hdf5.parse_model if kind == "model" else hdf5.parse_state
    parse(whole, "f")
    for end in range(len(whole)):
        with pytest.raises(UserError, match="f: not a complete HDF5 snapshot"):
            parse(whole[:end], "f")


def test_links_cannot_make_a_file_hold_more_than_it_does(tmp_path: Path) -> None:
    path = tmp_path / "many.solverstate.h5"
    write_state(path, pb.SolverState(iter=1, history=[blob_of(np.ones(10**5))]))
    with h5py.File(path, "a") as file:
        for i in range(1, 300):
            file[f"history/{i}"] = file["history/0"]
    with pytest.raises(UserError, match="which the file does not hold"):
        read_state(path)


@pytest.mark.parametrize(
    "text",
    [
        "layer { input_param { shape { dim: 99999999999999999999 } } }",
        'layer { name: "a" include { phase: 3 } }',
        "layer { convolution_param { num_output: -1 } }",
        "layer { loss_weight: 1e }",
        "layer { { }",
        '"name"',
        "layer < name: 'a' >>",
        "name: 'a' 'b' name: 'c'",
        "layer { relu_param { negative_slope: 0x1p4 } }",
        "[extension.field]: 1",
    ],
)
def test_odd_text_names_line_and_column_or_is_read(text: str) -> None:
    try:
        parse_text(f"\n{text}", pb.NetParameter, "f")
    except UserError as error:
        assert re.match(r"f:2:\d+: ", str(error)), error
