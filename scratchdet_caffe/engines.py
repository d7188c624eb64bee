"""The one place where the two engines meet: a module with pycaffe's API, either way."""

from __future__ import annotations

import importlib
from typing import Any

from scratchdet_caffe.errors import UserError

ENGINES = ("torch", "caffe")
DEVICES = ("cpu", "cuda")


def load_engine(name: str = "torch", device: str = "cpu") -> Any:
    """Return the real ``caffe`` module, or ours, set up for ``device``.

    Args:
        name: "torch" for the embedded engine, "caffe" for an installed SSD-Caffe.
        device: "cpu" or "cuda".

    Raises:
        UserError: The engine or the device is not there, or that caffe is not SSD's.
    """
    module = "scratchdet_caffe.pycaffe" if name == "torch" else "caffe"
    try:
        caffe = importlib.import_module(module)
    except ImportError as error:
        hint = "install torch" if name == "torch" else "build SSD-Caffe with pycaffe"
        raise UserError(f"engine '{name}' cannot be imported ({error}): {hint}") from error
    if name == "caffe" and "MultiBoxLoss" not in list(caffe.layer_type_list()):
        raise UserError(
            f"the caffe at {caffe.__file__} has no MultiBoxLoss layer: it is not SSD-Caffe"
        )
    if device == "cuda":
        caffe.set_device(0)
        caffe.set_mode_gpu()
    else:
        caffe.set_mode_cpu()
    return caffe
