"""A ``caffe`` package that offers what SSD-Caffe's pycaffe (1.0.0-rc3) does, and not a name more.

It computes with the embedded engine. Names, signatures and types are those of the C++ module:
strings must be strings, numbers numbers; a file that the library does not accept ends the process
as a failed CHECK does; the log goes to file descriptor 2, past Python.
"""

from ._caffe import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    Layer,
    NesterovSolver,
    Net,
    RMSPropSolver,
    SGDSolver,
    __version__,
    get_solver,
    layer_type_list,
    set_device,
    set_mode_cpu,
    set_mode_gpu,
    set_random_seed,
)
from .proto.caffe_pb2 import TEST, TRAIN

__all__ = [
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Layer",
    "NesterovSolver",
    "Net",
    "RMSPropSolver",
    "SGDSolver",
    "__version__",
    "get_solver",
    "layer_type_list",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_random_seed",
]
