"""The embedded Caffe. In plain PyTorch: `load`, `parameter_groups`, `save_caffemodel`."""

from typing import TYPE_CHECKING

from scratchdet_caffe.caffeproto import caffe_pb2 as _pb

if TYPE_CHECKING:
    from scratchdet_caffe.engine.module import load, parameter_groups, save_caffemodel

TRAIN, TEST = _pb.TRAIN, _pb.TEST
_MODULE = ("load", "parameter_groups", "save_caffemodel")
__all__ = ["TEST", "TRAIN", "load", "parameter_groups", "save_caffemodel"]


def __getattr__(name: str) -> object:
    """Import torch only for those who ask: shape inference does without it."""
    if name not in _MODULE:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from scratchdet_caffe.engine import module

    return getattr(module, name)
