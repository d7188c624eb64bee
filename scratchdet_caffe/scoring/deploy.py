"""A detection net without data layers: pictures go in, detections come out, at any size."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_net
from scratchdet_caffe.caffeproto.labelmap import class_names, read_label_map
from scratchdet_caffe.engine.shapes import infer
from scratchdet_caffe.errors import UserError

MEANS = (104.0, 117.0, 123.0)
"""SSD's mean colour, blue, green, red: taken where no data layer says another."""


@dataclass(frozen=True)
class DeployNet:
    """A net to feed pictures to.

    Attributes:
        net: The net; its only input is ``data``.
        data: Blob of the pictures, ``(N, C, H, W)``.
        detections: Blob of DetectionOutput, ``(1, 1, D, 7)``.
        layer: A data layer whose ``transform_param`` says how pictures become inputs.
        output: What DetectionOutput is told.
        shape: Channels, height and width of the input.
    """

    net: pb.NetParameter
    data: str
    detections: str
    layer: pb.LayerParameter
    output: pb.DetectionOutputParameter
    shape: tuple[int, int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width for which the net was made."""
        return self.shape[1:]

    def takes(self, height: int, width: int) -> bool:
        """Whether the net's layers fit together for an input of this size."""
        return _fits(self.net.SerializeToString(), self.data, (1, self.shape[0], height, width))

    def classes(self, label_map: Path | None = None) -> tuple[str, ...] | None:
        """Return the names by label, the background first; None if no label map is at hand.

        Args:
            label_map: The label map; None for the one that the data layer names.

        Raises:
            UserError: It cannot be read, or has another number of classes than the net.
        """
        said = self.layer.annotated_data_param.label_map_file
        path = label_map or (Path(said) if said and Path(said).is_file() else None)
        if path is None:
            return None
        names = ("background", *class_names(read_label_map(path)))
        if len(names) != self.output.num_classes:
            raise UserError(
                f"{path}: {len(names)} classes, the background included, but the net has "
                f"{self.output.num_classes}"
            )
        return names


@cache
def _fits(net: bytes, data: str, shape: tuple[int, ...]) -> bool:
    try:
        infer(pb.NetParameter.FromString(net), pb.TEST, {data: shape})
    except UserError:
        return False
    return True


def read_deploy_net(path: str | os.PathLike[str], nms: bool = True) -> DeployNet:
    """Make a net to feed pictures to from a deploy.prototxt or a test.prototxt.

    A data layer gives way to an input, layers that need labels go, and no result files are
    written. For a net without a data layer that of the ``test.prototxt`` beside it says how
    pictures become inputs; if there is none, SSD's own.

    Args:
        path: The prototxt.
        nms: Whether DetectionOutput suppresses overlapping boxes and keeps the best; if not, all
            candidates come out.

    Raises:
        UserError: The net detects nothing, or its input is not one blob of pictures.
    """
    net = read_net(path)
    kept = [layer for layer in net.layer if not _only_in_training(layer)]
    sources = [layer for layer in kept if layer.type == "AnnotatedData"]
    if sources:
        kept = _without_labels(kept, set(sources[0].top[1:]))
        kept[kept.index(sources[0])] = _input_for(sources[0], path)
    del net.layer[:]
    net.layer.extend(kept)
    inputs = [layer for layer in net.layer if layer.type == "Input"]
    outputs = [layer for layer in net.layer if layer.type == "DetectionOutput"]
    if len(outputs) != 1:
        raise UserError(f"{path}: the net has no DetectionOutput layer, so it detects nothing")
    shapes = [tuple(shape.dim) for layer in inputs for shape in layer.input_param.shape]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise UserError(f"{path}: its input must be one blob of pictures (N, C, H, W): {shapes}")
    output = outputs[0].detection_output_param
    output.ClearField("save_output_param")
    told = pb.DetectionOutputParameter.FromString(output.SerializeToString())
    if not nms:
        output.nms_param.nms_threshold, output.nms_param.eta, output.keep_top_k = 1.0, 1.0, -1
    _, channels, height, width = shapes[0]
    layer = sources[0] if sources else _data_layer_beside(path) or _plain_layer(channels)
    return DeployNet(
        net, inputs[0].top[0], outputs[0].top[0], layer, told, (channels, height, width)
    )


def _only_in_training(layer: pb.LayerParameter) -> bool:
    phases = [rule.phase for rule in layer.include if rule.HasField("phase")]
    return bool(phases) and pb.TEST not in phases


def _without_labels(layers: list[pb.LayerParameter], gone: set[str]) -> list[pb.LayerParameter]:
    """The layers that can run without the blobs ``gone``."""
    kept = []
    for layer in layers:
        if gone & set(layer.bottom):
            gone |= set(layer.top)
        else:
            kept.append(layer)
    return kept


def _input_for(data: pb.LayerParameter, path: str | os.PathLike[str]) -> pb.LayerParameter:
    """An Input layer in the place of ``data``."""
    param = data.transform_param
    resize = param.resize_param
    if resize.resize_mode != resize.WARP or not (resize.height and resize.width):
        raise UserError(
            f"{path}: layer '{data.name}' must stretch pictures to one size (resize_param with a "
            "height and a width, resize_mode WARP)"
        )
    layer = pb.LayerParameter(name=data.name, type="Input", top=[data.top[0]])
    channels = 1 if param.force_gray else 3
    layer.input_param.shape.add(dim=[1, channels, resize.height, resize.width])
    return layer


def _data_layer_beside(path: str | os.PathLike[str]) -> pb.LayerParameter | None:
    beside = Path(path).with_name("test.prototxt")
    if not beside.is_file():
        return None
    layers = read_net(beside).layer
    own = (x for x in layers if x.type == "AnnotatedData" and not _only_in_training(x))
    return next(own, None)


def _plain_layer(channels: int) -> pb.LayerParameter:
    """The data layer of SSD's own test nets, for nets that say nothing of it."""
    layer = pb.LayerParameter(name="data", type="AnnotatedData")
    param = layer.transform_param
    param.mean_value.extend(MEANS if channels == 3 else [sum(MEANS) / 3])
    param.resize_param.prob = 1
    param.resize_param.resize_mode = pb.ResizeParameter.WARP
    param.resize_param.interp_mode.append(pb.ResizeParameter.LINEAR)
    return layer
