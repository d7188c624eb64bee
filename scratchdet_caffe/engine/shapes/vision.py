"""Shapes and geometry of convolution and pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.shapes.registry import Shape, Spec, arity, axis_of, check, rule


@dataclass(frozen=True)
class Window:
    """A sliding window, one entry per spatial axis, in pixels of the bottom."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]


def conv_window(layer: pb.LayerParameter, axes: int) -> Window:
    """Return the window of a (de)convolution over ``axes`` spatial axes."""
    p = layer.convolution_param

    def spatial(name: str, values: Sequence[int], default: int | None) -> tuple[int, ...]:
        # Once one of x_h, x_w is given, the missing other one counts as 0 (Caffe).
        sides = [f"{name}_h", f"{name}_w"]
        if name != "dilation" and any(p.HasField(side) for side in sides):
            check(layer, not values, f"give either {name} or {name}_h and {name}_w, not both")
            check(layer, axes == 2, f"{name}_h and {name}_w need two spatial axes, not {axes}")
            return tuple(getattr(p, side) for side in sides)
        if not values and default is not None:
            return (default,) * axes
        check(
            layer,
            len(values) in (1, axes),
            f"{name} needs one entry, or one per spatial axis ({axes}), but has {len(values)}",
        )
        return tuple(values) * (axes if len(values) == 1 else 1)

    window = Window(
        kernel=spatial("kernel", p.kernel_size, None),
        stride=spatial("stride", p.stride, 1),
        pad=spatial("pad", p.pad, 0),
        dilation=spatial("dilation", p.dilation, 1),
    )
    check(layer, all(k > 0 for k in window.kernel), "the kernel must not be of size 0")
    check(layer, all(s > 0 for s in window.stride), "the stride must not be 0")
    check(layer, all(d > 0 for d in window.dilation), "the dilation must not be 0")
    _check_ints(layer, window)
    return window


def _check_ints(layer: pb.LayerParameter, window: Window) -> None:
    """Caffe's fields are unsigned, but it computes with ints."""
    values = (*window.kernel, *window.stride, *window.pad, *window.dilation)
    check(layer, max(values, default=0) < 2**31, "kernel, stride, pad, dilation: all below 2^31")


@rule("Convolution", "DepthwiseConvolution")
def convolution(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Convolution: floor((in + 2 pad - dilated kernel) / stride) + 1 per axis."""
    p = layer.convolution_param
    check(layer, len(bottoms) >= 1, "needs a bottom blob")
    axis = axis_of(layer, p.axis, bottoms[0])
    leading, spatial = bottoms[0][:axis], bottoms[0][axis + 1 :]
    channels = bottoms[0][axis]
    window = conv_window(layer, len(spatial))
    check(layer, p.num_output > 0, "num_output must be at least 1")
    check(layer, p.group > 0, "group must be at least 1")
    check(
        layer,
        min(bottoms[0][axis:]) > 0,
        f"'{layer.bottom[0]}' of shape {bottoms[0]} has no pixels",
    )
    check(layer, channels % p.group == 0, f"{channels} channels do not divide by group {p.group}")
    check(
        layer,
        p.num_output % p.group == 0,
        f"num_output {p.num_output} does not divide by group {p.group}",
    )
    for other in bottoms[1:]:
        check(layer, other == bottoms[0], f"bottoms differ in shape: {bottoms[0]}, {other}")
    out = []
    for size, k, s, pad, d in zip(
        spatial, window.kernel, window.stride, window.pad, window.dilation
    ):
        room = size + 2 * pad - (d * (k - 1) + 1)
        check(
            layer, room >= 0, f"the kernel ({k}, dilation {d}) is larger than the bottom ({size})"
        )
        out.append(room // s + 1)
    weight = (p.num_output, channels // p.group, *window.kernel)
    top = (*leading, p.num_output, *out)
    taps = math.prod(weight[1:])
    per_top = math.prod(top) * (2 * taps + (1 if p.bias_term else 0))
    return Spec(
        tops=(top,) * len(bottoms),
        params=(weight, (p.num_output,)) if p.bias_term else (weight,),
        fillers=(p.weight_filler, p.bias_filler) if p.bias_term else (p.weight_filler,),
        flops=per_top * len(bottoms),
    )


def pool_window(layer: pb.LayerParameter, height: int, width: int) -> Window:
    """Return the window of a pooling layer on a map of ``height`` x ``width``."""
    p = layer.pooling_param
    sides = p.HasField("kernel_h") and p.HasField("kernel_w")
    one_side = p.HasField("kernel_h") or p.HasField("kernel_w")
    if p.global_pooling:
        check(layer, not (p.HasField("kernel_size") or one_side), "global_pooling takes no kernel")
    else:
        check(
            layer,
            p.HasField("kernel_size") != one_side and sides == one_side,
            "give either kernel_size, or kernel_h and kernel_w",
        )
    for name in ("pad", "stride"):
        h, w = (p.HasField(f"{name}_{s}") for s in "hw")
        both = not p.HasField(name) and h and w
        check(layer, both or not (h or w), f"give either {name}, or {name}_h and {name}_w")
    kernel = (p.kernel_h, p.kernel_w) if sides else (p.kernel_size,) * 2
    if p.global_pooling:
        kernel = (height, width)
    pad = (p.pad_h, p.pad_w) if p.HasField("pad_h") else (p.pad, p.pad)
    stride = (p.stride_h, p.stride_w) if p.HasField("stride_h") else (p.stride, p.stride)
    if p.global_pooling:
        check(layer, pad == (0, 0) and stride == (1, 1), "global_pooling needs pad 0 and stride 1")
    check(layer, min(kernel) > 0, "the kernel must not be of size 0")
    check(layer, min(stride) > 0, "the stride must not be 0")
    check(
        layer,
        all(a < k for a, k in zip(pad, kernel)),
        f"the padding {pad} must be smaller than the kernel {kernel}",
    )
    window = Window(kernel, stride, pad, (1, 1))
    _check_ints(layer, window)
    return window


def pooled_size(size: tuple[int, int], window: Window, floor: bool = False) -> tuple[int, int]:
    """Return the map size after pooling: rounded up, last window starting inside (Caffe).

    Only with padding is a last window dropped that would start beyond the map and its first
    padding; without padding such a window stays, wholly outside.
    """
    out = []
    for n, k, s, pad in zip(size, window.kernel, window.stride, window.pad):
        room = n + 2 * pad - k
        count = (room // s if floor else -(-room // s)) + 1
        if any(window.pad) and (count - 1) * s >= n + pad:
            count -= 1
        out.append(count)
    return out[0], out[1]


@rule("Pooling")
def pooling(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Pooling over height and width; MAX may have a second top, the mask."""
    p = layer.pooling_param
    arity(layer, bottoms, 1)
    check(
        layer,
        len(bottoms[0]) == 4,
        f"needs a bottom with 4 axes (N, C, H, W), not {len(bottoms[0])}",
    )
    n, c, h, w = bottoms[0]
    check(layer, min(c, h, w) > 0, f"'{layer.bottom[0]}' of shape {bottoms[0]} has no pixels")
    check(layer, p.pool != pb.PoolingParameter.STOCHASTIC, "STOCHASTIC pooling has no CPU form")
    is_max = p.pool == pb.PoolingParameter.MAX
    check(layer, len(layer.top) <= (2 if is_max else 1), "only MAX pooling has a mask top")
    window = pool_window(layer, h, w)
    size = pooled_size((h, w), window, p.round_mode == pb.PoolingParameter.FLOOR)
    check(layer, min(size) > 0, f"the kernel {window.kernel} is larger than the bottom {h}x{w}")
    top = (n, c, *size)
    return Spec(
        tops=(top, top) if is_max else (top,), flops=math.prod(top) * math.prod(window.kernel)
    )
