"""Two messages compared field by field, by what they mean.

A field that is set to the default that the schema declares is the same as an unset one. A layer
is compared in its canonical form, so that the several ways in which Caffe takes a kernel, a
filler or a rate do not count as differences either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf import text_format

from scratchdet_caffe.analysis.view import LOSSES
from scratchdet_caffe.caffeproto import caffe_pb2 as pb

UNSET = "(unset)"
#: Sub-messages that act by being there, even if all their fields are at their default.
_ACTS_BY_PRESENCE = {
    "DetectionEvaluateParameter.resize_param",
    "BatchSampler.sample_constraint",
    "TransformationParameter.distort_param",
    "TransformationParameter.emit_constraint",
    "TransformationParameter.expand_param",
    "TransformationParameter.noise_param",
    "TransformationParameter.resize_param",
}
#: Where a filler that is not given is not FillerParameter's own default, a constant 0.
_FILLERS = (
    ("Scale", "scale_param", "filler", 1.0),
    ("Normalize", "norm_param", "scale_filler", 1.0),
    ("PReLU", "prelu_param", "filler", 0.25),
)


@dataclass(frozen=True)
class FieldDifference:
    """A field, by its path from the message (``convolution_param.num_output``), and its values."""

    path: str
    left: str
    right: str


def differing_fields(left: Any, right: Any, prefix: str = "") -> Iterator[FieldDifference]:
    """Yield the fields in which two messages of one type mean something else."""
    if left == right:
        return  # the usual case, and quick
    for field in left.DESCRIPTOR.fields:
        path = f"{prefix}{field.name}"
        a, b = getattr(left, field.name), getattr(right, field.name)
        if field.is_repeated and field.message_type:
            yield from _differing_items(path, a, b)
        elif field.is_repeated:
            if list(a) != list(b):
                yield FieldDifference(path, _listed(field, a), _listed(field, b))
        elif field.message_type:
            yield from _differing_message(path, field, left, right)
        elif _scalar(field, left) != _scalar(field, right):
            yield FieldDifference(path, _shown(field, left), _shown(field, right))


def _differing_message(path: str, field: Any, left: Any, right: Any) -> Iterator[FieldDifference]:
    found = list(
        differing_fields(getattr(left, field.name), getattr(right, field.name), f"{path}.")
    )
    yield from found
    acts = f"{field.containing_type.name}.{field.name}" in _ACTS_BY_PRESENCE
    if acts and not found and left.HasField(field.name) != right.HasField(field.name):
        sides = ["{}" if side.HasField(field.name) else UNSET for side in (left, right)]
        yield FieldDifference(path, *sides)


def _differing_items(path: str, left: Any, right: Any) -> Iterator[FieldDifference]:
    for i in range(max(len(left), len(right))):
        own = f"{path}[{i}]"
        items = [side[i] if i < len(side) else None for side in (left, right)]
        if path == "param":  # a blob without an entry has the rates of an empty one
            items = [pb.ParamSpec() if item is None else item for item in items]
        if None not in items:
            yield from differing_fields(items[0], items[1], f"{own}.")
        else:
            sides = [UNSET if item is None else _message_text(item) for item in items]
            yield FieldDifference(own, *sides)


def _scalar(field: Any, message: Any) -> object:
    """Return a value that is equal for two messages if the field means the same in both."""
    if not field.has_default_value and not message.HasField(field.name):
        return None  # e.g. an unset ignore_label is not label 0, an unset phase not TRAIN
    return getattr(message, field.name)


def _shown(field: Any, message: Any) -> str:
    if message.HasField(field.name):
        return _value(field, getattr(message, field.name))
    if not field.has_default_value:
        return UNSET
    return f"{_value(field, field.default_value)} (default)"


def _listed(field: Any, values: Any) -> str:
    texts = [_value(field, value) for value in values]
    return (texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]") if texts else UNSET


def _value(field: Any, value: object) -> str:
    if field.enum_type is not None:
        return str(field.enum_type.values_by_number[value].name)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _message_text(message: Any) -> str:
    return f"{{ {text_format.MessageToString(message, as_one_line=True)} }}"


def canonical_layer(layer: pb.LayerParameter) -> pb.LayerParameter:
    """Return ``layer`` in the one form of all those that mean the same, without its wiring."""
    out = pb.LayerParameter()
    out.CopyFrom(layer)
    for name in ("name", "bottom", "top", "blobs"):
        out.ClearField(name)
    _settle_windows(out)
    _settle_axes(out)
    for kind, holder, field, value in _FILLERS:
        param = getattr(out, holder)
        if layer.type == kind and not param.HasField(field):
            getattr(param, field).value = value
    if layer.type == "BatchNorm" and all(spec.lr_mult == 0 for spec in out.param):
        out.ClearField("param")  # its blobs never learn, said or not
    usual = [1.0] if layer.type in LOSSES else [0.0] * len(layer.top)
    if list(out.loss_weight) == usual:
        out.ClearField("loss_weight")
    if set(out.eltwise_param.coeff) == {1.0}:
        out.eltwise_param.ClearField("coeff")
    loss = out.multibox_loss_param
    if loss.do_neg_mining == (loss.mining_type != pb.MultiBoxLossParameter.NONE):
        loss.ClearField("do_neg_mining")
    return out


def _settle_windows(out: pb.LayerParameter) -> None:
    """Write kernel, stride, pad and dilation in one way."""
    conv, pool = out.convolution_param, out.pooling_param
    _settle_pair(conv, "kernel_size", "kernel", [])
    _settle_pair(conv, "stride", "stride", [1])
    _settle_pair(conv, "pad", "pad", [0])
    _settle_pair(conv, "dilation", "", [1])
    for name, short in (("kernel_size", "kernel"), ("stride", "stride"), ("pad", "pad")):
        high, wide = getattr(pool, f"{short}_h"), getattr(pool, f"{short}_w")
        if pool.HasField(f"{short}_h") and high == wide:
            setattr(pool, name, high)
            pool.ClearField(f"{short}_h")
            pool.ClearField(f"{short}_w")


def _settle_pair(conv: pb.ConvolutionParameter, name: str, short: str, default: list[int]) -> None:
    values = list(getattr(conv, name)) or default
    if short and (conv.HasField(f"{short}_h") or conv.HasField(f"{short}_w")):
        values = [getattr(conv, f"{short}_h"), getattr(conv, f"{short}_w")]
        conv.ClearField(f"{short}_h")
        conv.ClearField(f"{short}_w")
    conv.ClearField(name)
    getattr(conv, name).extend(values[:1] if len(set(values)) == 1 else values)


def _settle_axes(out: pb.LayerParameter) -> None:
    """Write the axis of Concat and Slice under its present name."""
    for param, old in ((out.concat_param, "concat_dim"), (out.slice_param, "slice_dim")):
        if param.HasField(old):
            param.axis = getattr(param, old)
            param.ClearField(old)
