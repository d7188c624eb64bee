"""Old nets, solvers and weights, brought up to date as Caffe's upgrade tools do."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import (
    parse_text,
    read_binary,
    read_model,
    read_net,
    read_prototxt,
    read_solver,
    upgrade_net,
    upgrade_solver,
)
from scratchdet_caffe.errors import UserError

LEGACY = Path(__file__).parents[3] / "shared" / "golden" / "legacy"
CASES = json.loads((LEGACY / "index.json").read_text()) if LEGACY.is_dir() else {}
READERS = {
    "upgrade_net_proto_text": (read_net, read_prototxt, pb.NetParameter),
    "upgrade_net_proto_binary": (read_model, read_binary, pb.NetParameter),
    "upgrade_solver_proto_text": (read_solver, read_prototxt, pb.SolverParameter),
}


@pytest.mark.skipif(not CASES, reason="needs ../shared/golden/legacy")
@pytest.mark.parametrize("case", CASES)
def test_the_upgrade_equals_the_references(
    case: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(LEGACY)
    caplog.set_level(logging.INFO, "caffe")
    facts = CASES[case]
    read, read_plain, kind = READERS[facts["tool"]]
    if facts["after"] is None:
        with pytest.raises(UserError, match=f"{case}: solver_type .* and type are both given"):
            read(case)
        return
    assert read(case) == read_plain(facts["after"], kind)
    # The tools' advice to run the tools, and the name of their output, say nothing here.
    wanted = ("Attempting", "Successfully", "Warning", "Unknown")
    told = [record.getMessage() for record in caplog.records]
    assert told == [line for line in facts["log"] if line.startswith(wanted)]


def net_of(text: str) -> pb.NetParameter:
    return parse_text(text, pb.NetParameter)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('layer { name: "a" } layers { name: "b" type: RELU }', "both `layer` and `layers`"),
        (
            'layers { layer { name: "c" type: "conf" } }',
            "layer 'c': no V0 layer type 'conf' (did you mean 'conv'?)",
        ),
        (
            'layers { layer { name: "p" type: "padding" pad: 1 } bottom: "x" top: "y" }'
            'layers { layer { name: "r" type: "relu" } bottom: "y" top: "z" }',
            "padding layer 'p' feeds layer 'r' (relu), but only convolution and pooling pad",
        ),
        ('input: "a" input_dim: 1', "1 inputs need 4 input_dim entries, but there are 1"),
        ('input: "a" input: "b" input_shape { dim: 1 }', "2 inputs need as many input_shape"),
    ],
)
def test_what_no_present_net_can_say_is_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        upgrade_net(net_of(text), "old.prototxt")
    assert str(caught.value).startswith("old.prototxt: ")
    assert sentence in str(caught.value)


def test_padding_of_a_v0_net_moves_into_what_reads_it() -> None:
    net = upgrade_net(
        net_of(
            'layers { layer { name: "p" type: "padding" pad: 3 } bottom: "x" top: "y" }'
            'layers { layer { name: "c" type: "conv" kernelsize: 7 } bottom: "y" top: "c" }'
            'layers { layer { name: "m" type: "pool" kernelsize: 2 } bottom: "y" top: "m" }'
        ),
        "f",
    )
    conv, pool = net.layer
    assert (list(conv.bottom), list(conv.convolution_param.pad)) == (["x"], [3])
    assert (list(pool.bottom), pool.pooling_param.pad) == (["x"], 3)


def test_inputs_without_a_shape_are_dropped_and_said(caplog: pytest.LogCaptureFixture) -> None:
    net = upgrade_net(net_of('input: "data" layer { name: "r" type: "ReLU" }'), "f.prototxt")
    assert [layer.name for layer in net.layer] == ["r"]
    assert not net.input
    assert "f.prototxt: input without input_shape" in caplog.text


def test_a_net_of_today_comes_back_itself() -> None:
    net = net_of('name: "n" layer { name: "r" type: "ReLU" }')
    assert upgrade_net(net, "f") is net
    solver = pb.SolverParameter(type="Adam")
    assert upgrade_solver(solver, "f") is solver


names = st.text("abc", max_size=3)
numbers = st.lists(st.floats(0, 8, width=32), max_size=3)


@given(
    st.lists(
        st.tuples(names, st.sampled_from(pb.V1LayerParameter.LayerType.values()), numbers, numbers),
        min_size=1,
        max_size=4,
    )
)
def test_an_upgrade_loses_nothing_and_leaves_the_old_net_alone(layers) -> None:
    old = pb.NetParameter()
    for name, kind, rates, decays in layers:
        layer = old.layers.add(name=name, type=kind, top=[name], blobs_lr=rates)
        layer.weight_decay.extend(decays)
        layer.blobs.add(data=rates)
    before = old.SerializeToString()
    new = upgrade_net(old, "f")
    assert old.SerializeToString() == before
    assert not new.layers
    assert upgrade_net(new, "f") is new
    for ours, (name, _, rates, decays) in zip(new.layer, layers, strict=True):
        assert (ours.name, list(ours.top), list(ours.blobs[0].data)) == (name, [name], rates)
        assert len(ours.param) == max(len(rates), len(decays))
        assert [spec.lr_mult for spec in ours.param][: len(rates)] == rates
        assert [spec.decay_mult for spec in ours.param][: len(decays)] == decays
