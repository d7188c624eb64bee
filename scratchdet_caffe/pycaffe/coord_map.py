"""Which pixel of one blob lies over which pixel of another: ``caffe.coord_map``.

A map is (axis, a, b): along the spatial axes behind ``axis``, a point x of the bottom lies at
a * x + b of the top. ``a`` and ``b`` hold one number per spatial axis, or one for all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.pycaffe.net_spec import Top, layers

Floats = npt.NDArray[np.float64]
Map = tuple[int | None, Floats, Floats]

_IDENTITY: Map = (None, np.ones(1), np.zeros(1))
#: Layers that leave every point where it is.
_POINTWISE = {"AbsVal", "BNLL", "BatchNorm", "Bias", "Dropout", "ELU", "Eltwise", "Exp", "LRN"}
_POINTWISE |= {"Log", "MVN", "Normalize", "PReLU", "Power", "ReLU", "Scale", "Sigmoid"}
_POINTWISE |= {"Softmax", "Split", "Swish", "TanH", "Threshold"}


class UndefinedMapException(UserError):
    """A layer for which no coordinate map exists."""


class AxisMismatchException(UserError):
    """Two maps of layers that count their spatial axes from different places."""


def _numbers(params: dict[str, Any], name: str, default: float) -> Floats:
    """Read ``kernel_size``, ``stride``, ``pad`` in any of the ways in which Caffe takes them."""
    short = name.removesuffix("_size")
    if f"{short}_h" in params:
        return np.array([params[f"{short}_h"], params[f"{short}_w"]], float)
    return np.atleast_1d(np.array(params.get(name, default), float))


def coord_map(fn: Any) -> Map:
    """Return the map from the (first) bottom of a layer of a NetSpec to its top.

    Raises:
        UndefinedMapException: The layer has none, e.g. InnerProduct.
    """
    kind = fn.type_name
    if kind in _POINTWISE:
        return _IDENTITY
    if kind == "Crop":
        p = fn.params.get("crop_param", fn.params)
        axis = int(p.get("axis", 2)) - 1
        return axis, np.ones(1), -np.atleast_1d(np.array(p.get("offset", 0), float))
    if kind not in ("Convolution", "Deconvolution", "Pooling", "Im2col"):
        raise UndefinedMapException(f"coord_map: {kind} layers do not keep spatial positions")
    own = "pooling_param" if kind == "Pooling" else "convolution_param"
    p = fn.params.get(own, fn.params)
    if p.get("global_pooling"):
        raise UndefinedMapException("coord_map: global pooling keeps no positions")
    axis = int(p.get("axis", 1))
    stride, pad = _numbers(p, "stride", 1), _numbers(p, "pad", 0)
    reach = _numbers(p, "dilation", 1) * (_numbers(p, "kernel_size", 1) - 1)
    if kind == "Deconvolution":
        return axis, stride, reach / 2 - pad
    return axis, 1 / stride, (pad - reach / 2) / stride


def compose(after: Map, before: Map) -> Map:
    """Return the map that does ``before``, then ``after``."""
    axis, a, b = after
    other, c, d = before
    if axis is not None and other is not None and axis != other:
        raise AxisMismatchException(f"coord_map: spatial axes begin behind {axis} and {other}")
    return axis if other is None else other, a * c, a * d + b


def inverse(forward: Map) -> Map:
    """Return the map from the top back to the bottom."""
    axis, a, b = forward
    return axis, 1 / a, -b / a


def _maps_from_ancestors(top: Top) -> dict[Top, Map]:
    """The map from every blob that ``top`` is made of to ``top``."""
    maps = {top: _IDENTITY}
    stack = [top]
    while stack:
        here = stack.pop()
        # A Crop's second bottom only gives the size.
        bottoms = here.fn.inputs[:1] if here.fn.type_name == "Crop" else here.fn.inputs
        for bottom in bottoms:
            if bottom in maps:
                continue
            try:
                maps[bottom] = compose(maps[here], coord_map(here.fn))
            except UndefinedMapException:
                continue
            stack.append(bottom)
    return maps


def coord_map_from_to(top_from: Top, top_to: Top) -> Map:
    """Return the map from points of ``top_from`` to points of ``top_to``.

    Raises:
        UserError: They have no blob in common from which positions can be followed.
    """
    ours, theirs = _maps_from_ancestors(top_from), _maps_from_ancestors(top_to)
    for blob, here in ours.items():
        if blob in theirs:
            return compose(theirs[blob], inverse(here))
    raise UserError("coord_map: the two blobs are not made of a common one")


def crop(top_from: Top, top_to: Top) -> Any:
    """Return a Crop layer that cuts ``top_from`` to what lies over ``top_to``.

    Raises:
        UserError: The two have different strides, or ``top_from`` does not cover ``top_to``.
    """
    # A point x of top_to lies at a * x + b of top_from; the crop begins where x = 0 lies.
    axis, a, b = coord_map_from_to(top_to, top_from)
    if not np.allclose(a, 1):
        raise UserError(f"crop: the blobs differ in scale by {a.tolist()}")
    offset = np.round(b).astype(int)
    if (offset < 0).any():
        raise UserError(f"crop: it would begin at {offset.tolist()}, outside the blob")
    behind = 1 if axis is None else axis
    return layers.Crop(top_from, top_to, crop_param={"axis": behind + 1, "offset": offset.tolist()})
