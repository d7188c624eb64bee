"""The layers of the embedded engine: one class per type, one file per family."""

import importlib
import pkgutil

from scratchdet_caffe.engine.layers.base import Context, Layer, layer_class, layer_types, loss_types

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")  # registers its layers

__all__ = ["Context", "Layer", "layer_class", "layer_types", "loss_types"]
