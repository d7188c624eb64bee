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
from scratchdet_caffe.pycaffe.blob import Blob, BlobVec
from scratchdet_caffe.pycaffe.classifier import Classifier
from scratchdet_caffe.pycaffe.detector import Detector
from scratchdet_caffe.pycaffe.mode import (
    set_data_loading,
    set_device,
    set_mode_cpu,
    set_mode_gpu,
    set_precision,
    set_random_seed,
)
from scratchdet_caffe.pycaffe.net import Net
from scratchdet_caffe.pycaffe.net_spec import NetSpec, layers, params, to_proto
from scratchdet_caffe.pycaffe.process import (
    Timer,
    has_nccl,
    init_log,
    log,
    set_multiprocess,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)
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

RawBlobVec = LayerVec = list  # what Caffe's C++ side calls them
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
    "BlobVec",
    "Classifier",
    "Detector",
    "Layer",
    "LayerVec",
    "NesterovSolver",
    "Net",
    "NetSpec",
    "RMSPropSolver",
    "RawBlobVec",
    "SGDSolver",
    "Timer",
    "__version__",
    "coord_map",
    "draw",
    "get_solver",
    "has_nccl",
    "init_log",
    "io",
    "layer_type_list",
    "layers",
    "log",
    "net_spec",
    "params",
    "proto",
    "set_data_loading",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_precision",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
    "to_proto",
]
