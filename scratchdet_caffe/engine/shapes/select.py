"""Shapes of layers that cut a blob apart, repeat it, or pick items from it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.shapes.registry import Shape, Spec, arity, axis_of, check, rule


def slice_sizes(layer: pb.LayerParameter, shape: Shape) -> tuple[int, list[int]]:
    """Return the axis of a Slice layer and the size of each top along it."""
    p = layer.slice_param
    both = p.HasField("axis") and p.HasField("slice_dim")
    check(layer, not both, "give either axis or slice_dim, not both")
    axis = axis_of(layer, p.slice_dim if p.HasField("slice_dim") else p.axis, shape)
    size, tops = shape[axis], len(layer.top)
    if not p.slice_point:
        check(
            layer, size % tops == 0, f"{tops} tops do not evenly divide the {size} of axis {axis}"
        )
        return axis, [size // tops] * tops
    check(
        layer,
        len(p.slice_point) == tops - 1,
        f"{tops} tops need {tops - 1} slice_point, but there are {len(p.slice_point)}",
    )
    ends = [0, *p.slice_point, size]
    sizes = [end - start for start, end in itertools.pairwise(ends)]
    check(
        layer,
        min(sizes) > 0,
        f"slice_point {list(p.slice_point)} must rise within the {size} of axis {axis}",
    )
    return axis, sizes


@rule("Slice")
def slice_(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Slice: one blob cut along an axis, at given points or evenly."""
    arity(layer, bottoms, 1)
    check(layer, bool(layer.top), "needs a top blob")
    axis, sizes = slice_sizes(layer, bottoms[0])
    before, after = bottoms[0][:axis], bottoms[0][axis + 1 :]
    return Spec(tops=tuple((*before, size, *after) for size in sizes))


@rule("Tile")
def tile(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Tile: the blob several times along an axis."""
    p = layer.tile_param
    arity(layer, bottoms, 1)
    check(layer, p.tiles > 0, "tiles must be at least 1")
    axis = axis_of(layer, p.axis, bottoms[0])
    shape = list(bottoms[0])
    shape[axis] *= p.tiles
    return Spec(tops=(tuple(shape),))


def crop_starts(layer: pb.LayerParameter, shape: Shape, like: Shape) -> list[tuple[int, int, int]]:
    """Return (axis, first index, size) of each axis that a Crop layer cuts."""
    p = layer.crop_param
    check(layer, len(like) == len(shape), f"bottoms differ in axes: {shape} and {like}")
    start = axis_of(layer, p.axis, shape)
    cut = len(shape) - start
    check(
        layer,
        len(p.offset) in (0, 1, cut),
        f"offset needs one entry, or one per cropped axis ({cut}), but has {len(p.offset)}",
    )
    offsets = list(p.offset) or [0]
    offsets = offsets * cut if len(offsets) == 1 else offsets
    cuts = list(zip(range(start, len(shape)), offsets, like[start:]))
    for axis, offset, size in cuts:
        check(
            layer,
            offset + size <= shape[axis],
            f"a crop of {size} from {offset} on reaches past the {shape[axis]} of axis {axis}",
        )
    return cuts


@rule("Crop")
def crop(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Crop: from ``axis`` on as large as the second bottom."""
    arity(layer, bottoms, 2)
    cuts = crop_starts(layer, bottoms[0], bottoms[1])
    return Spec(tops=((*bottoms[0][: cuts[0][0]], *(size for _, _, size in cuts)),))


@rule("BatchReindex")
def batch_reindex(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """BatchReindex: the items that the second bottom (K,) names, in that order."""
    arity(layer, bottoms, 2)
    check(layer, len(bottoms[0]) >= 1, "needs a bottom with at least 1 axis")
    check(layer, len(bottoms[1]) == 1, f"indices are one axis (K,), not {bottoms[1]}")
    return Spec(tops=((bottoms[1][0], *bottoms[0][1:]),))


@rule("Filter")
def filter_(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Filter: of each blob the items for which the last bottom (N, 1, ...) is not 0.

    How many those are is only known to the data: until it runs, all of them.
    """
    check(layer, len(bottoms) >= 2, "takes blobs and a selector, so at least 2 bottom blobs")
    *blobs, selector = bottoms
    check(
        layer,
        len(layer.top) == len(blobs),
        f"needs a top for each blob ({len(blobs)}), but has {len(layer.top)}",
    )
    check(
        layer,
        len(selector) >= 1 and math.prod(selector[1:]) == 1,
        f"the selector '{layer.bottom[-1]}' is one number per item, not {selector}",
    )
    for name, shape in zip(layer.bottom, blobs):
        check(
            layer,
            shape[:1] == selector[:1],
            f"'{name}' of shape {shape} does not have the {selector[0]} items of the selector",
        )
    return Spec(tops=tuple(blobs))
