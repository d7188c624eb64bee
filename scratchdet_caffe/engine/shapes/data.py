"""Shapes of data layers."""

from __future__ import annotations

from collections.abc import Sequence

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.shapes.registry import Shape, Spec, arity, check, rule


@rule("Input")
def input_layer(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Input: one shape for all tops, or one per top."""
    arity(layer, bottoms, 0)
    shapes = [tuple(shape.dim) for shape in layer.input_param.shape]
    check(
        layer,
        len(shapes) in (0, 1, len(layer.top)),
        f"needs no shape, one shape, or one per top ({len(layer.top)}), not {len(shapes)}",
    )
    check(layer, all(d >= 0 for s in shapes for d in s), "a dim must not be negative")
    if len(shapes) <= 1:
        shapes = (shapes or [()]) * len(layer.top)
    return Spec(tops=tuple(shapes))


def transformed_size(transform: pb.TransformationParameter) -> tuple[int, int]:
    """Return (height, width) that ``transform`` makes of any image; 0 where it depends on it."""
    if transform.crop_size:
        return transform.crop_size, transform.crop_size
    if transform.crop_h and transform.crop_w:
        return transform.crop_h, transform.crop_w
    if transform.HasField("resize_param"):
        return transform.resize_param.height, transform.resize_param.width
    return 0, 0


@rule("AnnotatedData")
def annotated_data(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """AnnotatedData: images (N, C, H, W) and box rows (1, 1, boxes, 8).

    The number of boxes changes with every batch (1 stands for it), and without resize or
    crop the image size is only known to the database (0 stands for it).
    """
    arity(layer, bottoms, 0)
    check(layer, layer.data_param.batch_size > 0, "data_param.batch_size must be at least 1")
    channels = 1 if layer.transform_param.force_gray else 3
    size = transformed_size(layer.transform_param)
    return Spec(tops=((layer.data_param.batch_size, channels, *size), (1, 1, 1, 8)))


def _one_each(layer: pb.LayerParameter, name: str, count: int, least: int) -> None:
    tops = len(layer.top)
    check(
        layer,
        count in {least, 1, tops},
        f"{name} needs one entry, or one per top ({tops}), but has {count}",
    )


@rule("DummyData")
def dummy_data(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """DummyData: a shape for all tops or one per top, also as the four old dims."""
    p = layer.dummy_data_param
    arity(layer, bottoms, 0)
    tops = len(layer.top)
    old = [p.num, p.channels, p.height, p.width]
    check(layer, not (p.shape and any(old)), "give either shape, or num, channels, height, width")
    _one_each(layer, "data_filler", len(p.data_filler), 0)
    if p.shape:
        _one_each(layer, "shape", len(p.shape), 1)
        shapes = [tuple(shape.dim) for shape in p.shape]
    else:
        for name, dims in zip(("num", "channels", "height", "width"), old):
            _one_each(layer, name, len(dims), 1)
        rows = max(len(dims) for dims in old)
        shapes = [tuple(dims[i % len(dims)] for dims in old) for i in range(rows)]
    check(layer, all(dim >= 0 for shape in shapes for dim in shape), "a dim must not be negative")
    return Spec(tops=tuple(shapes * tops if len(shapes) == 1 else shapes))
