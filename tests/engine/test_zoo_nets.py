"""Every net of the collected real prototxts is built and runs, in each phase that it is for."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from scratchdet_caffe import engine
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_net
from scratchdet_caffe.engine.graph import filter_net
from scratchdet_caffe.engine.net import Net
from scratchdet_caffe.engine.shapes.data import transformed_size

ZOO = Path(__file__).parents[3] / "shared" / "zoo" / "prototxt"
SCHEMAS = {"bvlc", "ssd", "refinedet"}
FEEDERS = {"Data", "ImageData", "HDF5Data", "AnnotatedData", "WindowData"}
#: Channels and side of the pictures, where the data layer does not say, by a word of the path.
PICTURES = {"siamese": (2, 28), "mnist": (1, 28), "cifar10": (3, 32)}
BATCH = 1


def nets() -> list[str]:
    if not ZOO.is_dir():
        return []
    with (ZOO / "index.csv").open() as stream:
        return [
            row["stored_path"]
            for row in csv.DictReader(stream)
            if row["kind"] == "NetParameter" and SCHEMAS & set(row["parsed_by_schema"].split())
        ]


def served(layer: pb.LayerParameter, path: str) -> list[tuple[int, ...]]:
    """The shapes that a data layer would serve, but for a batch of `BATCH`."""
    if layer.type == "AnnotatedData":
        return [(BATCH, 3, *transformed_size(layer.transform_param)), (1, 1, BATCH, 8)]
    if layer.type == "HDF5Data":
        return [(BATCH, 4), (BATCH,)]
    channels, side = next((v for word, v in PICTURES.items() if word in path), (3, 0))
    side = layer.transform_param.crop_size or side
    return [(BATCH, channels, side, side), (BATCH,)]


def fed(net: pb.NetParameter, state: pb.NetState, path: str) -> pb.NetParameter | None:
    """``net`` in ``state`` with inputs for its data layers; None if it is not for this phase."""
    out = filter_net(net, state)
    for layer in out.layer:
        if layer.type in FEEDERS:
            shapes = served(layer, path)
            layer.type = "Input"
            for _, shape in zip(layer.top, shapes):
                layer.input_param.shape.add(dim=shape)
        # Files that a user would have; what they are for is tested elsewhere.
        layer.detection_evaluate_param.ClearField("name_size_file")
        layer.detection_output_param.ClearField("save_output_param")
    kinds = [layer.type for layer in out.layer]
    is_deploy = not FEEDERS & {layer.type for layer in net.layer}
    return out if "Input" in kinds and not (is_deploy and state.phase == pb.TRAIN) else None


def values_for(net: Net) -> dict[str, torch.Tensor]:
    """Noise for pictures; for labels class 1, or one box of class 1 in each image."""
    feed = {}
    for blob in net.inputs:
        shape = net.shapes[net.graph.last[blob]]
        feed[blob] = torch.rand(shape)
        if shape[:2] == (1, 1) and shape[3:] == (8,):
            feed[blob][0, 0] = torch.tensor([0, 1, 0, 0.1, 0.2, 0.7, 0.9, 0])
            feed[blob][..., 0] = torch.arange(shape[2])
        elif len(shape) == 1:
            feed[blob] = torch.ones(shape)
    return feed


@pytest.mark.skipif(not nets(), reason="needs ../shared/zoo/prototxt")
@pytest.mark.parametrize("path", nets())
def test_a_real_net_is_built_and_runs(path: str) -> None:
    read = read_net(ZOO / path)
    stage = "test-on-test" if "autoencoder" in path else ""
    ran = []
    for phase in (pb.TRAIN, pb.TEST):
        stages = [stage] if phase == pb.TEST and stage else []
        param = fed(read, pb.NetState(phase=phase, stage=stages), path)
        if param is None:
            continue
        net = engine.load(param, phase=phase, stages=stages)
        for buffer in net.buffers():
            buffer.fill_(1)  # statistics of a net that has seen something
        with torch.no_grad():
            outputs = net(values_for(net))
        for blob, values in outputs.items():
            assert values.isfinite().all(), blob
            if not blob.startswith("detection_"):
                assert tuple(values.shape) == net.shapes[net.graph.last[blob]], blob
        ran.append(bool(outputs))
    assert ran and all(ran)
