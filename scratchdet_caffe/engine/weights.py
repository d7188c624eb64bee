"""Weights in and out of a net: ``.caffemodel`` files, matched by layer name."""

from __future__ import annotations

import logging
import os

import torch

from scratchdet_caffe import glog
from scratchdet_caffe.caffeproto import array_of, blob_of, blob_shape, read_binary, write_binary
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.net import Net
from scratchdet_caffe.errors import UserError

LOG = logging.getLogger("caffe")


def load_weights(net: Net, path: str | os.PathLike[str]) -> None:
    """Copy the blobs of a ``.caffemodel`` into the layers of ``net`` of the same name.

    Layers that the file lacks keep their values; layers that the net lacks are ignored (and
    logged). Nothing is copied if anything does not fit.

    Raises:
        UserError: No such file, no such format, or a blob of another shape (the layer and
            both shapes are named).
    """
    copy_weights(net, read_binary(path, pb.NetParameter), os.fspath(path))


def copy_weights(net: Net, weights: pb.NetParameter, source: str) -> None:
    """Copy the blobs of ``weights`` into ``net``; see `load_weights`."""
    if weights.layers:
        raise UserError(
            f"{source}: weights in the old V1 format; "
            "convert them with Caffe's upgrade_net_proto_binary first"
        )
    if not weights.layer:
        raise UserError(f"{source}: holds no layers, so it is no .caffemodel")
    targets = {layer.param.name: layer for layer in net.layers}
    copies = []
    for stored in weights.layer:
        layer = targets.get(stored.name)
        if layer is None:
            LOG.info(glog.ignoring_layer(stored.name))
            continue
        if len(stored.blobs) != layer.num_blobs:
            raise UserError(
                f"{source}: layer '{stored.name}' has {len(stored.blobs)} blobs there, "
                f"but {layer.num_blobs} in net '{net.name}'"
            )
        for i, (blob, target) in enumerate(zip(stored.blobs, layer.blobs)):
            if not _same_shape(blob, tuple(target.shape)):
                raise UserError(
                    f"{source}: blob {i} of layer '{stored.name}' has shape {blob_shape(blob)} "
                    f"there, but {tuple(target.shape)} in net '{net.name}'"
                )
            try:
                copies.append((target, array_of(blob)))
            except ValueError as error:
                raise UserError(
                    f"{source}: blob {i} of layer '{stored.name}' is damaged: {error}"
                ) from error
    with torch.no_grad():
        for target, values in copies:
            target.copy_(torch.from_numpy(values).reshape(target.shape))


def _same_shape(blob: pb.BlobProto, shape: tuple[int, ...]) -> bool:
    stored = blob_shape(blob)
    if blob.HasField("shape"):
        return stored == shape
    # Old files always have four dims, padded with ones in front.
    return len(shape) <= 4 and stored == (1,) * (4 - len(shape)) + shape


def to_message(net: Net) -> pb.NetParameter:
    """Return ``net`` with the present values of its blobs, as a ``.caffemodel`` holds it."""
    message = pb.NetParameter(name=net.name)
    for node, layer in zip(net.graph.nodes, net.layers):
        stored = message.layer.add()
        stored.CopyFrom(node.layer)
        stored.phase = net.phase  # type: ignore[assignment]
        del stored.blobs[:]
        for blob in layer.blobs:
            stored.blobs.add().MergeFrom(blob_of(blob.detach().cpu().numpy()))
    return message


def save_weights(net: Net, path: str | os.PathLike[str]) -> None:
    """Write the weights of ``net`` to ``path`` as a ``.caffemodel``, aside first."""
    write_binary(path, to_message(net))
