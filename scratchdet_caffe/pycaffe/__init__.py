"""The ``caffe`` Python module over the embedded engine.

import scratchdet_caffe.pycaffe as caffe
caffe.set_mode_cpu()
net = caffe.Net("deploy.prototxt", "weights.caffemodel", caffe.TEST)
net.blobs["data"].data[...] = image
detections = net.forward()["detection_out"]
"""

from scratchdet_caffe import __version__
from scratchdet_caffe.engine.layers import layer_types
from scratchdet_caffe.pycaffe import coord_map, draw, io, net_spec, proto
from scratchdet_caffe.pycaffe.blob import Blob
from scratchdet_caffe.pycaffe.classifier import Classifier
from scratchdet_caffe.pycaffe.detector import Detector
from scratchdet_caffe.pycaffe.mode import (
    set_device,
    set_mode_cpu,
    set_mode_gpu,
    set_random_seed,
)
from scratchdet_caffe.pycaffe.net import Net
from scratchdet_caffe.pycaffe.net_spec import NetSpec, layers, params, to_proto
from scratchdet_caffe.pycaffe.python_layer import Layer
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
    "Classifier",
    "Detector",
    "Layer",
    "NesterovSolver",
    "Net",
    "NetSpec",
    "RMSPropSolver",
    "SGDSolver",
    "__version__",
    "coord_map",
    "draw",
    "get_solver",
    "io",
    "layer_type_list",
    "layers",
    "net_spec",
    "params",
    "proto",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_random_seed",
    "to_proto",
]
