"""Recipe release-caffe renders what the authors' generator renders, layer for layer.

Names of convolutions, heads and sources are equal; all other names map one to one, by position.
Paths and net names follow this project's own folders and are left out of the comparison.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.experiment import plan
from scratchdet_caffe.render import job_files

RENAMED_TYPES = {"BatchNorm", "Scale", "ReLU", "Eltwise"}
OWN_PATHS = {"train_net", "test_net", "snapshot_prefix", "output_directory"}
COMMON = {"name", "type", "bottom", "top", "param", "include", "exclude", "propagate_down"}


@pytest.fixture(scope="module")
def facts(shared: Path) -> Any:
    path = shared / "golden/nets/scratchdet_root_resnet34_voc/structure.json"
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def rendered() -> dict[str, str]:
    return job_files(plan("root_resnet34", "voc0712", "release-caffe"))


def fields(message: Any) -> dict[str, Any]:
    """Return the set fields of ``message``: enums by name, floats as their shortest decimal."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def comparable(value: Any) -> Any:
    """Leave out our own paths; JSON writes 64-bit integers as strings, so read those back."""
    if isinstance(value, dict):
        return {k: comparable(v) for k, v in value.items() if k not in OWN_PATHS}
    if isinstance(value, list):
        return [comparable(v) for v in value]
    return int(value) if isinstance(value, str) and value.lstrip("-").isdigit() else value


@pytest.mark.parametrize("net", ["train", "test", "deploy"])
def test_layers_equal_those_of_the_release(net: str, facts: Any, rendered: dict[str, str]) -> None:
    layers = parse_text(rendered[f"{net}.prototxt"], pb.NetParameter).layer
    expected = facts["nets"][net]["layers"]
    assert [layer.type for layer in layers] == [fact["type"] for fact in expected]
    new_names, new_blobs = {}, {}
    for layer, fact in zip(layers, expected):
        ours = fields(layer)
        new_names[fact["name"]] = layer.name
        for old, new in zip([*fact["bottom"], *fact["top"]], [*layer.bottom, *layer.top]):
            assert new_blobs.setdefault(old, new) == new, f"{fact['name']}: {old} is not {new}"
        assert len(layer.bottom) == len(fact["bottom"])
        assert len(layer.top) == len(fact["top"])
        assert ours.get("param", []) == fact.get("param", []), layer.name
        assert ours.get("include", []) == fact.get("include", []), layer.name
        assert ours.get("propagate_down", []) == fact.get("propagate_down", []), layer.name
        params = {key: value for key, value in ours.items() if key not in COMMON}
        assert comparable(params) == comparable(fact["params"]), layer.name
        renamed = fact["type"] in RENAMED_TYPES or fact["name"].startswith("Convolution")
        assert renamed or layer.name == fact["name"]
    assert len(set(new_names.values())) == len(new_names), "two layers share a name"
    assert len(set(new_blobs.values())) == len(new_blobs), "two blobs became one"


def test_deploy_input_equals_that_of_the_release(facts: Any, rendered: dict[str, str]) -> None:
    net = parse_text(rendered["deploy.prototxt"], pb.NetParameter)
    shapes = [list(shape.dim) for shape in net.input_shape]
    expected = facts["nets"]["deploy"]["input"]
    assert list(net.input) == [item["name"] for item in expected]
    assert shapes == [item["shape"] for item in expected]


def test_solver_equals_that_of_the_release(facts: Any, rendered: dict[str, str]) -> None:
    solver = fields(parse_text(rendered["solver.prototxt"], pb.SolverParameter))
    assert comparable(solver) == comparable(facts["solver"])
