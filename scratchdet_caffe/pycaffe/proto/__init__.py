"""``caffe.proto``: the message classes where pycaffe programs look for them."""

from scratchdet_caffe.caffeproto import caffe_pb2

__all__ = ["caffe_pb2"]
