"""V0 nets (2013, ``layers { layer { type: "conv" ... } }``) as V1 nets."""

from __future__ import annotations

import logging
from typing import Any

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.errors import UserError, nearest

LOG = logging.getLogger("caffe")

_TYPES = {
    "conv": "CONVOLUTION",
    "images": "IMAGE_DATA",
    "innerproduct": "INNER_PRODUCT",
    "pool": "POOLING",
} | {
    # The others kept their name, in capitals.
    name: name.upper()
    for name in [
        "accuracy",
        "bnll",
        "concat",
        "data",
        "dropout",
        "euclidean_loss",
        "flatten",
        "hdf5_data",
        "hdf5_output",
        "im2col",
        "infogain_loss",
        "lrn",
        "multinomial_logistic_loss",
        "relu",
        "sigmoid",
        "softmax",
        "softmax_loss",
        "split",
        "tanh",
        "window_data",
    ]
}

_WEIGHTED = {"conv": "convolution_param", "innerproduct": "inner_product_param"}
_CONV = {"conv": "convolution_param"}
_WINDOW = {"conv": "convolution_param", "pool": "pooling_param"}
_LRN = {"lrn": "lrn_param"}
_IMAGES = {"images": "image_data_param"}
_REGIONS = {"window_data": "window_data_param"}
_FED = {"data": "data_param", "hdf5_data": "hdf5_data_param"} | _IMAGES | _REGIONS

#: Where a V0 field went: its new name, and the message that holds it, by layer type. In a V0
#: layer all parameters lie side by side, so one that means nothing to its layer can be there.
_FIELDS: dict[str, tuple[str, dict[str, str]]] = {
    "num_output": ("num_output", _WEIGHTED),
    "biasterm": ("bias_term", _WEIGHTED),
    "weight_filler": ("weight_filler", _WEIGHTED),
    "bias_filler": ("bias_filler", _WEIGHTED),
    "pad": ("pad", _WINDOW),
    "kernelsize": ("kernel_size", _WINDOW),
    "stride": ("stride", _WINDOW),
    "group": ("group", _CONV),
    "pool": ("pool", {"pool": "pooling_param"}),
    "dropout_ratio": ("dropout_ratio", {"dropout": "dropout_param"}),
    "local_size": ("local_size", _LRN),
    "alpha": ("alpha", _LRN),
    "beta": ("beta", _LRN),
    "k": ("k", _LRN),
    "source": ("source", _FED | {"infogain_loss": "infogain_loss_param"}),
    "batchsize": ("batch_size", _FED),
    "rand_skip": ("rand_skip", {"data": "data_param"} | _IMAGES),
    "shuffle_images": ("shuffle", _IMAGES),
    "new_height": ("new_height", _IMAGES),
    "new_width": ("new_width", _IMAGES),
    "concat_dim": ("concat_dim", {"concat": "concat_param"}),
    "det_fg_threshold": ("fg_threshold", _REGIONS),
    "det_bg_threshold": ("bg_threshold", _REGIONS),
    "det_fg_fraction": ("fg_fraction", _REGIONS),
    "det_context_pad": ("context_pad", _REGIONS),
    "det_crop_mode": ("crop_mode", _REGIONS),
}
#: Fields that every layer kept under a message of its own.
_TRANSFORM = {
    "scale": "scale",
    "meanfile": "mean_file",
    "cropsize": "crop_size",
    "mirror": "mirror",
}
_KEPT = ("name", "blobs", "blobs_lr", "weight_decay", "hdf5_output_param")


def upgrade_v0(net: pb.NetParameter, source: str) -> tuple[pb.NetParameter, bool]:
    """Return V0 ``net`` as a V1 net, and whether every parameter found its place.

    Raises:
        UserError: A layer type that V0 never had, or a padding layer before anything but a
            convolution or a pooling.
    """
    out = pb.NetParameter()
    out.CopyFrom(net)
    del out.layers[:]
    complete = True
    for old in _without_padding(net, source):
        new = out.layers.add()
        if old.HasField("layer"):
            complete &= _upgrade_layer(old, new, source)
        else:
            new.CopyFrom(old)
    return out, complete


def _without_padding(net: pb.NetParameter, source: str) -> list[pb.V1LayerParameter]:
    """Fold padding layers, which were layers once, into the layers that read them."""
    maker: dict[str, pb.V1LayerParameter] = {}
    kept = []
    for original in net.layers:
        old = pb.V1LayerParameter()
        old.CopyFrom(original)
        for i, blob in enumerate(old.bottom):
            padding = maker.get(blob)
            if padding is None or padding.layer.type != "padding":
                continue
            if old.layer.type not in _WINDOW or len(padding.bottom) != 1:
                raise UserError(
                    f"{source}: padding layer '{padding.layer.name}' feeds layer "
                    f"'{old.layer.name}' ({old.layer.type}), but only convolution and pooling pad"
                )
            old.layer.pad = padding.layer.pad
            old.bottom[i] = padding.bottom[0]
        maker.update(dict.fromkeys(old.top, old))
        if old.layer.type != "padding":
            kept.append(old)
    return kept


def _upgrade_layer(old: pb.V1LayerParameter, new: pb.V1LayerParameter, source: str) -> bool:
    new.bottom.extend(old.bottom)
    new.top.extend(old.top)
    v0 = old.layer
    if v0.HasField("type"):
        if v0.type not in _TYPES:
            raise UserError(
                f"{source}: layer '{v0.name}': no V0 layer type '{v0.type}'"
                f"{nearest(v0.type, _TYPES)}"
            )
        new.type = pb.V1LayerParameter.LayerType.Value(_TYPES[v0.type])  # type: ignore[assignment]
    complete = True
    for field, value in v0.ListFields():
        if field.name in _KEPT:
            _put(new, field.name, value)
        elif field.name in _TRANSFORM:
            _put(new.transform_param, _TRANSFORM[field.name], value)
        elif field.name != "type":
            name, holders = _FIELDS.get(field.name, ("", {}))
            if v0.type in holders:
                _put(getattr(new, holders[v0.type]), name, value)
            else:
                LOG.error(f"Unknown parameter {field.name} for layer type {v0.type}")
                complete = False
    return complete


def _put(message: Any, name: str, value: Any) -> None:
    """Set field ``name`` of ``message``, whether single, repeated or a message."""
    held = getattr(message, name)
    if hasattr(held, "extend"):
        # A convolution's kernel, stride and pad became lists, one entry per axis.
        held.extend(value if hasattr(value, "extend") else [value])
    elif hasattr(held, "CopyFrom"):
        held.CopyFrom(value)
    else:
        setattr(message, name, value)
