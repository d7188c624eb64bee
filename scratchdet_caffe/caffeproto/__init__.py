"""Caffe's file formats: schema, prototxt text, binary models, blobs as numpy arrays."""

from scratchdet_caffe.caffeproto import caffe_pb2
from scratchdet_caffe.caffeproto.binary import parse_binary, read_binary, write_binary
from scratchdet_caffe.caffeproto.blobs import array_of, blob_of, blob_shape
from scratchdet_caffe.caffeproto.legacy import upgrade_net, upgrade_solver
from scratchdet_caffe.caffeproto.readers import (
    read_model,
    read_net,
    read_solver,
    read_state,
    write_model,
    write_state,
)
from scratchdet_caffe.caffeproto.text import (
    PrototxtError,
    format_text,
    parse_text,
    read_prototxt,
    write_prototxt,
)

__all__ = [
    "PrototxtError",
    "array_of",
    "blob_of",
    "blob_shape",
    "caffe_pb2",
    "format_text",
    "parse_binary",
    "parse_text",
    "read_binary",
    "read_model",
    "read_net",
    "read_prototxt",
    "read_solver",
    "read_state",
    "upgrade_net",
    "upgrade_solver",
    "write_binary",
    "write_model",
    "write_prototxt",
    "write_state",
]
