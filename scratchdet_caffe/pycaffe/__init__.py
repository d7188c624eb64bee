"""The ``caffe`` Python module over the embedded engine.

import scratchdet_caffe.pycaffe as caffe
caffe.set_mode_cpu()
net = caffe.Net("deploy.prototxt", "weights.caffemodel", caffe.TEST)
net.blobs["data"].data[...] = image
detections = net.forward()["detection_out"]
"""

from scratchdet_caffe import __version__
from scratchdet_caffe.engine.layers import layer_types
from scratchdet_caffe.pycaffe import proto
from scratchdet_caffe.pycaffe.blob import Blob
from scratchdet_caffe.pycaffe.mode import (
    set_device,
    set_mode_cpu,
    set_mode_gpu,
    set_random_seed,
)
from scratchdet_caffe.pycaffe.net import Net
from scratchdet_caffe.pycaffe.solver import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    get_solver,
)

TRAIN, TEST = proto.caffe_pb2.TRAIN, proto.caffe_pb2.TEST


def layer_type_list() -> list[str]:
    """Return the layer types that can be run."""
    return layer_types()


__all__ = [
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Blob",
    "NesterovSolver",
    "Net",
    "RMSPropSolver",
    "SGDSolver",
    "__version__",
    "get_solver",
    "layer_type_list",
    "proto",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_random_seed",
]
