"""Prototxt in and out, and what a user reads when it is wrong."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from scratchdet_caffe.caffeproto import (
    PrototxtError,
    format_text,
    parse_text,
    read_prototxt,
    write_prototxt,
)
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.errors import UserError


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            'layer {\n  name: "a"\n  convolution_parm { }\n}',
            "net.prototxt:3:3: LayerParameter has no field 'convolution_parm' "
            "(did you mean 'convolution_param'?)",
        ),
        (
            "layer { pooling_param { pool: MXA } }",
            "net.prototxt:1:31: PoolingParameter.PoolMethod has no value 'MXA' "
            "(did you mean 'MAX'?)",
        ),
        ('layer { name: 3 }', "net.prototxt:1:15: Expected string but found: '3'"),
        ('layer { name: "a" ', 'net.prototxt:1:15: Expected "}"'),
        ('name: "x" name: "y"', "net.prototxt:1:17: 'name' is given twice in one NetParameter"),
        ("layer { clip_param { min: 1 } }", "net.prototxt: required field 'layer[0].clip_param."),
    ],
)  # fmt: skip
def test_an_error_names_place_word_and_nearest_name(text: str, sentence: str) -> None:
    with pytest.raises(PrototxtError) as caught:
        parse_text(text, pb.NetParameter, "net.prototxt")
    assert str(caught.value).startswith(sentence)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text('name: "marked"', encoding="utf-8-sig")
    assert read_prototxt(tmp_path / "net.prototxt", pb.NetParameter).name == "marked"


def test_a_missing_or_binary_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none.prototxt: cannot read this prototxt"):
        read_prototxt(tmp_path / "none.prototxt", pb.NetParameter)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8 text"):
        read_prototxt(tmp_path / "binary", pb.NetParameter)


@given(st.text(max_size=200))
def test_any_text_parses_or_is_refused_with_a_sentence(text: str) -> None:
    try:
        message = parse_text(text, pb.NetParameter, "f")
    except PrototxtError as error:
        assert str(error).startswith("f:")
    else:
        assert parse_text(format_text(message), pb.NetParameter) == message


floats = st.floats(width=32, allow_nan=False)


@given(
    st.lists(
        st.tuples(st.text(max_size=10), floats, st.integers(0, 2**32 - 1), st.booleans()),
        max_size=5,
    )
)
def test_what_is_written_reads_back_equal(layers) -> None:
    net = pb.NetParameter(name="n")
    for name, rate, outputs, flag in layers:
        layer = net.layer.add(name=name, propagate_down=[flag], loss_weight=[rate])
        layer.param.add(lr_mult=rate)
        layer.convolution_param.num_output = outputs
    assert parse_text(format_text(net), pb.NetParameter) == net


def test_write_prototxt_leaves_only_the_final_file(tmp_path: Path) -> None:
    write_prototxt(tmp_path / "deep" / "net.prototxt", pb.NetParameter(name="n"))
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["net.prototxt"]
    assert read_prototxt(tmp_path / "deep" / "net.prototxt", pb.NetParameter).name == "n"


def test_real_prototxts_parse_to_the_golden_message_or_name_the_field(shared: Path) -> None:
    zoo = shared / "zoo" / "prototxt"
    with (zoo / "index.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    equal, refused = 0, 0
    for row in rows:
        path = zoo / row["stored_path"]
        kind = pb.SolverParameter if row["kind"] == "SolverParameter" else pb.NetParameter
        if {"bvlc", "ssd", "refinedet"} & set(row["parsed_by_schema"].split()):
            ours = json_format.MessageToDict(
                read_prototxt(path, kind), preserving_proto_field_name=True
            )
            golden = zoo / "_golden" / f"{row['stored_path'].replace('/', '__')}.json.gz"
            assert ours == json.loads(gzip.decompress(golden.read_bytes())), path
            equal += 1
        else:  # a dialect of another fork
            with pytest.raises(PrototxtError, match=r":\d+:\d+: \w+ has no field '\w+'"):
                read_prototxt(path, kind)
            refused += 1
    assert equal > 30
    assert refused > 0
