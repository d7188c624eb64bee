"""The layers of the embedded engine: one class per type, one file per family."""

import importlib

from scratchdet_caffe.engine.layers.base import Context, Layer, layer_class, layer_types, loss_types

_FAMILIES = (
    "activation",
    "common",
    "data",
    "detection",
    "hdf5",
    "image",
    "instance",
    "linear",
    "loss",
    "memory",
    "normalization",
    "ranking",
    "recurrent",
    "select",
    "vision",
    "window",
)
for _family in _FAMILIES:
    importlib.import_module(f"{__name__}.{_family}")  # registers its layers

__all__ = ["Context", "Layer", "layer_class", "layer_types", "loss_types"]
