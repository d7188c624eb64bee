"""Shapes of data layers."""

from __future__ import annotations

from collections.abc import Sequence

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.shapes.registry import LayerError, Shape, Spec, arity, check, rule


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
    check(layer, bool(layer.top), "needs a top blob")
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


@rule("Data")
def data(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Data: pictures (N, C, H, W) and labels (N,); 0 is a size that only the database knows."""
    arity(layer, bottoms, 0)
    p = layer.data_param
    check(layer, p.batch_size > 0, "data_param.batch_size must be at least 1")
    check(layer, bool(p.source), "data_param.source must name an LMDB folder")
    channels = 1 if layer.transform_param.force_gray else 3
    return _labelled(p.batch_size, channels, *transformed_size(layer.transform_param))


@rule("ImageData")
def image_data(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """ImageData: pictures (N, C, H, W) and labels (N,); 0 is a size that only the files know."""
    arity(layer, bottoms, 0)
    p = layer.image_data_param
    check(layer, p.batch_size > 0, "image_data_param.batch_size must be at least 1")
    check(layer, bool(p.source), "image_data_param.source must name a list of pictures")
    check(
        layer,
        bool(p.new_height) == bool(p.new_width),
        "image_data_param needs new_height and new_width, or neither",
    )
    check(
        layer,
        not (p.new_height and layer.transform_param.HasField("resize_param")),
        "give either new_height and new_width, or resize_param",
    )
    size = transformed_size(layer.transform_param)
    size = size if all(size) else (p.new_height, p.new_width)
    return _labelled(p.batch_size, 3 if p.is_color else 1, *size)


@rule("MemoryData")
def memory_data(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """MemoryData: arrays (N, C, H, W) and labels (N,), of the sizes that it states."""
    arity(layer, bottoms, 0)
    p = layer.memory_data_param
    sizes = (p.batch_size, p.channels, p.height, p.width)
    check(
        layer,
        all(sizes),
        "memory_data_param needs batch_size, channels, height and width above 0",
    )
    return _labelled(*sizes)


def _labelled(count: int, channels: int, height: int, width: int) -> Spec:
    return Spec(tops=((count, channels, height, width), (count,)))


@rule("HDF5Data")
def hdf5_data(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """HDF5Data: a dataset for each top; what a row looks like only the files know."""
    arity(layer, bottoms, 0)
    p = layer.hdf5_data_param
    check(layer, p.batch_size > 0, "hdf5_data_param.batch_size must be at least 1")
    check(layer, bool(p.source), "hdf5_data_param.source must name a list of HDF5 files")
    check(layer, not layer.HasField("transform_param"), "does not transform: no transform_param")
    return Spec(tops=((p.batch_size,),) * len(layer.top))


@rule("HDF5Output")
def hdf5_output(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """HDF5Output: no top; data and labels with one row each."""
    arity(layer, bottoms, 2)
    check(layer, bool(layer.hdf5_output_param.file_name), "hdf5_output_param needs a file_name")
    check(
        layer,
        all(1 <= len(shape) <= 4 for shape in bottoms) and bottoms[0][0] == bottoms[1][0],
        f"takes two blobs of 1 to 4 axes with equally many rows, not {bottoms[0]} and {bottoms[1]}",
    )
    return Spec(tops=())


@rule("VideoData")
def video_data(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """VideoData: refused."""
    raise LayerError(
        layer,
        "video is not read here: cut it into pictures and list them for an ImageData layer, "
        "or feed an Input layer frame by frame",
    )


@rule("WindowData")
def window_data(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """WindowData: refused."""
    raise LayerError(
        layer,
        "window files are not read here: cut the windows out and list them for an ImageData "
        "layer, or train a detector on boxes with AnnotatedData",
    )
