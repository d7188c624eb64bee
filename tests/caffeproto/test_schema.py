"""The schema is Caffe's, field for field."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scratchdet_caffe.caffeproto import caffe_pb2 as pb

PACKAGE = Path(pb.__file__).parent
SCALARS = {
    1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 8: "bool",
    9: "string", 12: "bytes", 13: "uint32",
}  # fmt: skip
LABELS = {1: "optional", 2: "required", 3: "repeated"}


def message(name: str):
    return pb.DESCRIPTOR.pool.FindMessageTypeByName(f"caffe.{name}")


def read(shared: Path, name: str) -> list[dict[str, str]]:
    with (shared / "facts" / name).open() as stream:
        return list(csv.DictReader(stream))


def test_every_field_has_its_number_type_and_default(shared: Path) -> None:
    rows = read(shared, "caffe_fields.csv")
    for row in rows:
        field = message(row["message"]).fields_by_name[row["field"]]
        where = f"{row['message']}.{row['field']}"
        assert field.number == int(row["number"]), where
        proto = type(field.containing_type._concrete_class().DESCRIPTOR)  # a live class exists
        assert proto
        kind = SCALARS.get(field.type) or (field.message_type or field.enum_type).full_name
        assert kind.removeprefix("caffe.") == row["type"], where
        label = "repeated" if field.is_repeated else "required" if field.is_required else "optional"
        assert label == row["label"], where
        if row["default"]:
            default = field.default_value
            if field.enum_type is not None:
                default = field.enum_type.values_by_number[default].name
            if isinstance(default, bool):
                default = str(default).lower()
            same = float(row["default"]) if isinstance(default, (int, float)) else row["default"]
            assert (
                default == pytest.approx(same, rel=1e-6)
                if isinstance(same, float)
                else (str(default) == same)
            ), where
    ours = {
        (name, field.name)
        for name, descriptor in pb.DESCRIPTOR.message_types_by_name.items()
        for field in descriptor.fields
    }
    assert ours == {(row["message"], row["field"]) for row in rows}


def test_every_enum_value_has_its_number(shared: Path) -> None:
    for row in read(shared, "caffe_enums.csv"):
        enum = pb.DESCRIPTOR.pool.FindEnumTypeByName(f"caffe.{row['enum']}")
        assert enum.values_by_name[row["value"]].number == int(row["number"]), row


def test_the_compiled_schema_is_the_text(tmp_path: Path) -> None:
    out = tmp_path / "caffe.desc"
    arguments = ["-I", str(PACKAGE), f"--descriptor_set_out={out}", f"--pyi_out={tmp_path}"]
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "grpc_tools.protoc", *arguments, "caffe.proto"],
        check=True,
    )
    assert out.read_bytes() == (PACKAGE / "caffe.desc").read_bytes(), "run `make proto`"
    assert (tmp_path / "caffe_pb2.pyi").read_text() == (PACKAGE / "caffe_pb2.pyi").read_text()


def test_another_schema_of_the_same_name_can_live_in_the_process() -> None:
    """As when the real caffe is imported beside us."""
    program = (
        "from google.protobuf import descriptor_pb2, descriptor_pool\n"
        "f = descriptor_pb2.FileDescriptorProto(name='caffe.proto', package='caffe')\n"
        "f.message_type.add(name='NetParameter')\n"
        "descriptor_pool.Default().Add(f)\n"
        "import scratchdet_caffe.caffeproto.caffe_pb2 as pb\n"
        "print(pb.NetParameter(name='ours').name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ, check=True
    )
    assert done.stdout == "ours\n"
