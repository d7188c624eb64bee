"""Shapes of layers that compute element by element or only rearrange."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.shapes.registry import Shape, Spec, arity, axis_of, check, rule


@rule("ReLU", "Softmax", "Split", "Silence")
def same(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Tops of the bottom's shape: as many as the layer names."""
    if layer.type == "Silence":
        check(layer, bool(bottoms), "needs a bottom blob")
        return Spec(tops=())
    arity(layer, bottoms, 1)
    if layer.type == "Softmax":
        axis_of(layer, layer.softmax_param.axis, bottoms[0])
    if layer.type == "Split":
        return Spec(tops=(bottoms[0],) * len(layer.top))
    return Spec(tops=(bottoms[0],), flops=math.prod(bottoms[0]))


@rule("Eltwise")
def eltwise(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Eltwise: all bottoms of one shape."""
    p = layer.eltwise_param
    arity(layer, bottoms, 2, max(2, len(bottoms)))
    check(
        layer,
        len(p.coeff) in (0, len(bottoms)),
        f"coeff needs one entry per bottom ({len(bottoms)}) or none, but has {len(p.coeff)}",
    )
    check(
        layer,
        not (p.coeff and p.operation == pb.EltwiseParameter.PROD),
        "PROD takes no coefficients",
    )
    for other in bottoms[1:]:
        check(layer, other == bottoms[0], f"bottoms differ in shape: {bottoms[0]} and {other}")
    return Spec(tops=(bottoms[0],), flops=math.prod(bottoms[0]) * (len(bottoms) - 1))


def concat_axis(layer: pb.LayerParameter, shape: Shape) -> int:
    """Return the axis of a Concat layer, also when given by the old ``concat_dim``."""
    p = layer.concat_param
    both = p.HasField("axis") and p.HasField("concat_dim")
    check(layer, not both, "give either axis or concat_dim, not both")
    return axis_of(layer, p.concat_dim if p.HasField("concat_dim") else p.axis, shape)


@rule("Concat")
def concat(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Concat: bottoms equal in all axes but one, which adds up."""
    check(layer, bool(bottoms), "needs a bottom blob")
    axis = concat_axis(layer, bottoms[0])

    def rest(shape: Shape) -> Shape:
        return shape[:axis] + shape[axis + 1 :]

    for i, other in enumerate(bottoms):
        check(
            layer,
            len(other) == len(bottoms[0]) and rest(other) == rest(bottoms[0]),
            f"bottom '{layer.bottom[i]}' has shape {other}, which does not match "
            f"{bottoms[0]} outside axis {axis}",
        )
    total = sum(shape[axis] for shape in bottoms)
    return Spec(tops=((*bottoms[0][:axis], total, *bottoms[0][axis + 1 :]),))


def permute_order(layer: pb.LayerParameter, axes: int) -> list[int]:
    """Return the full order of a Permute layer; axes that it leaves out follow in order."""
    order = list(layer.permute_param.order)
    for axis in order:
        check(layer, axis < axes, f"order {axis} is out of range for {axes} axes")
    check(layer, len(set(order)) == len(order), f"order {order} names an axis twice")
    return order + [axis for axis in range(axes) if axis not in order]


@rule("Permute")
def permute(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Permute: axes in a new order."""
    arity(layer, bottoms, 1)
    order = permute_order(layer, len(bottoms[0]))
    return Spec(tops=(tuple(bottoms[0][axis] for axis in order),))


def no_in_place(layer: pb.LayerParameter) -> None:
    """Refuse a layer that writes over the blob it reads."""
    check(layer, not set(layer.bottom) & set(layer.top), "cannot work in place")


def flattened(layer: pb.LayerParameter, shape: Shape) -> Shape:
    """Return ``shape`` with the axes of a Flatten layer folded into one."""
    p = layer.flatten_param
    start, end = axis_of(layer, p.axis, shape), axis_of(layer, p.end_axis, shape)
    check(layer, start <= end, f"axis {start} lies behind end_axis {end}")
    return (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])


@rule("Flatten")
def flatten(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Flatten: fold ``axis`` to ``end_axis`` into one."""
    arity(layer, bottoms, 1)
    no_in_place(layer)
    return Spec(tops=(flattened(layer, bottoms[0]),))


def reshaped(layer: pb.LayerParameter, shape: Shape) -> Shape:
    """Return ``shape`` after a Reshape layer: dim 0 copies, dim -1 is inferred."""
    p = layer.reshape_param
    dims = list(p.shape.dim)
    check(layer, dims.count(-1) <= 1, "at most one dim may be -1")
    check(layer, all(d >= -1 for d in dims), "a dim must be -1, 0 or more")
    # A negative axis names a gap between axes: -1 is behind the last one.
    start = p.axis if p.axis >= 0 else len(shape) + p.axis + 1
    check(layer, 0 <= start <= len(shape), f"axis {p.axis} is out of range for shape {shape}")
    check(layer, p.num_axes >= -1, f"num_axes must be -1 or more, not {p.num_axes}")
    end = len(shape) if p.num_axes == -1 else start + p.num_axes
    check(layer, end <= len(shape), f"num_axes {p.num_axes} reaches past shape {shape}")
    for i, dim in enumerate(dims):
        if dim == 0:
            check(layer, start + i < len(shape), f"dim 0 at {i} has no axis to copy in {shape}")
            dims[i] = shape[start + i]
    count = math.prod(shape)
    known = math.prod(shape[:start]) * math.prod(shape[end:])
    if -1 in dims:
        known *= -math.prod(dims)
        check(layer, known > 0 and count % known == 0, f"no dim for -1 divides {count} values")
        dims[dims.index(-1)] = count // known
    out = (*shape[:start], *dims, *shape[end:])
    check(
        layer, math.prod(out) == count, f"shape {out} does not hold the {count} values of {shape}"
    )
    return out


@rule("Reshape")
def reshape(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Reshape: the same values under another shape."""
    arity(layer, bottoms, 1)
    no_in_place(layer)
    return Spec(tops=(reshaped(layer, bottoms[0]),))


@rule("Reduction")
def reduction(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Reduction: all axes from ``axis`` on to one number."""
    arity(layer, bottoms, 1)
    axis = axis_of(layer, layer.reduction_param.axis, bottoms[0])
    return Spec(tops=(bottoms[0][:axis],), flops=math.prod(bottoms[0]))
