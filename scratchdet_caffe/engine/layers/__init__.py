"""The layers of the embedded engine: one class per type, one file per family."""

import importlib

from scratchdet_caffe.engine.layers.base import Context, Layer, layer_class, layer_types, loss_types

for _family in ("common", "data", "detection", "normalization", "vision"):
    importlib.import_module(f"{__name__}.{_family}")  # registers its layers

__all__ = ["Context", "Layer", "layer_class", "layer_types", "loss_types"]
