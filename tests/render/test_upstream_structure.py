"""Nets equal what upstream's generators render, layer for layer: type, wiring, parameters, rates.

Names are equal for the nets that upstream published weights for. In Root-ResNet, convolutions,
heads and sources keep their names, and all other names map one to one, by position. Paths and
net names follow this project's own folders and are left out of the comparison.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.engine.shapes import infer
from scratchdet_caffe.experiment import plan
from scratchdet_caffe.render import job_files

UPSTREAM = {
    "scratchdet_root_resnet34_voc": ("root_resnet34", "voc0712", "release-caffe"),
    "ssd300_vgg16_voc": ("vgg16", "voc0712", "ssd"),
    "refinedet320_vgg16_voc": ("vgg16", "voc0712", "refinedet"),
}
RENAMED_TYPES = {"BatchNorm", "Scale", "ReLU", "Eltwise"}
OWN_PATHS = {"train_net", "test_net", "snapshot_prefix", "output_directory"}
COMMON = {"name", "type", "bottom", "top", "param", "include", "exclude", "propagate_down"}

NETS = [(name, net) for name in UPSTREAM for net in ("train", "test", "deploy")]


@cache
def read_facts(path: Path) -> Any:
    return json.loads(path.read_text())


@cache
def rendered(name: str) -> dict[str, str]:
    return job_files(plan(*UPSTREAM[name]))


def facts_of(shared: Path, name: str) -> Any:
    return read_facts(shared / "golden/nets" / name / "structure.json")


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


@pytest.mark.parametrize(("name", "net"), NETS)
def test_layers_equal_those_of_upstream(name: str, net: str, shared: Path) -> None:
    layers = parse_text(rendered(name)[f"{net}.prototxt"], pb.NetParameter).layer
    expected = facts_of(shared, name)["nets"][net]["layers"]
    assert [layer.type for layer in layers] == [fact["type"] for fact in expected]
    new_names: dict[str, str] = {}
    new_blobs: dict[str, str] = {}
    for layer, fact in zip(layers, expected):
        ours = fields(layer)
        new_names[fact["name"]] = layer.name
        for old, new in zip([*fact["bottom"], *fact["top"]], [*layer.bottom, *layer.top]):
            assert new_blobs.setdefault(old, new) == new, f"{fact['name']}: {old} is not {new}"
        assert len(layer.bottom) == len(fact["bottom"])
        assert len(layer.top) == len(fact["top"])
        for key in ("param", "include", "exclude", "propagate_down"):
            assert ours.get(key, []) == fact.get(key, []), layer.name
        params = {key: value for key, value in ours.items() if key not in COMMON}
        assert comparable(params) == comparable(fact["params"]), layer.name
        renamed = fact["type"] in RENAMED_TYPES or fact["name"].startswith("Convolution")
        assert layer.name == fact["name"] or (renamed and "scratchdet" in name)
    assert len(set(new_names.values())) == len(new_names), "two layers share a name"
    assert len(set(new_blobs.values())) == len(new_blobs), "two blobs became one"


@pytest.mark.parametrize("name", UPSTREAM)
def test_deploy_input_equals_that_of_upstream(name: str, shared: Path) -> None:
    net = parse_text(rendered(name)["deploy.prototxt"], pb.NetParameter)
    shapes = [list(shape.dim) for shape in net.input_shape]
    expected = facts_of(shared, name)["nets"]["deploy"]["input"]
    assert list(net.input) == [item["name"] for item in expected]
    assert shapes == [item["shape"] for item in expected]


@pytest.mark.parametrize("name", UPSTREAM)
def test_solver_equals_that_of_upstream(name: str, shared: Path) -> None:
    solver = fields(parse_text(rendered(name)["solver.prototxt"], pb.SolverParameter))
    assert comparable(solver) == comparable(facts_of(shared, name)["solver"])


@pytest.mark.parametrize("name", UPSTREAM)
def test_shapes_parameters_and_priors_equal_those_of_upstream(name: str, shared: Path) -> None:
    facts = facts_of(shared, name)["nets"]["deploy"]
    net = infer(parse_text(rendered(name)["deploy.prototxt"], pb.NetParameter), pb.TEST)
    layers = [layer for layer in net.layers if layer.type not in ("Input", "Split")]
    for layer, fact in zip(layers, facts["layers"], strict=True):
        if layer.type != "DetectionOutput":  # the number of detections is data
            assert [list(top) for top in layer.tops] == fact["top_shapes"], layer.name
        assert [list(blob) for blob in layer.params] == fact.get("param_shapes", []), layer.name
    assert net.blobs[facts["prior_blob"]][2] == 4 * facts["priors"]
