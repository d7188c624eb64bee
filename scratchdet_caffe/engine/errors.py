"""The error of a layer that cannot be built or run."""

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.errors import UserError


class LayerError(UserError):
    """A layer that cannot be built or run; the sentence starts with its name and type."""

    def __init__(self, layer: pb.LayerParameter, message: str) -> None:
        super().__init__(f"layer '{layer.name}' ({layer.type}): {message}")
