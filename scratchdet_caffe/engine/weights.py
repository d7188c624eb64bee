"""Weights in and out of a net: ``.caffemodel`` and ``.caffemodel.h5``, matched by layer name."""

from __future__ import annotations

import logging
import os

import numpy as np
import torch
from torch import Tensor

from scratchdet_caffe import glog
from scratchdet_caffe.caffeproto import array_of, blob_of, blob_shape, read_model, write_model
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.net import Net
from scratchdet_caffe.errors import UserError

LOG = logging.getLogger("caffe")


def load_weights(net: Net, path: str | os.PathLike[str]) -> None:
    """Copy the blobs of a ``.caffemodel`` into the layers of ``net`` of the same name.

    The file may be of any age, or HDF5 (where blobs that a layer shares may be left out).
    Layers that the file lacks keep their values; layers that the net lacks are ignored (and
    logged). Nothing is copied if anything does not fit.

    Raises:
        UserError: No such file, no such format, or a blob of another shape (the layer and
            both shapes are named).
    """
    copy_weights(net, read_model(path), os.fspath(path))


def copy_weights(net: Net, weights: pb.NetParameter, source: str) -> None:
    """Copy the blobs of ``weights`` into ``net``; see `load_weights`."""
    if not weights.layer:
        raise UserError(f"{source}: holds no layers, so it is no .caffemodel")
    targets = {layer.param.name: layer for layer in net.layers}
    owned = {(param.layer, param.index) for param in net.params}
    copies = []
    for stored in weights.layer:
        layer = targets.get(stored.name)
        if layer is None:
            LOG.info(glog.ignoring_layer(stored.name))
            continue
        present = {i for i, blob in enumerate(stored.blobs) if blob.ByteSize()}
        needed = {i for i in range(layer.num_blobs) if (stored.name, i) in owned}
        if not needed <= present <= set(range(layer.num_blobs)):
            raise UserError(
                f"{source}: layer '{stored.name}' has {len(present)} blobs there, "
                f"but {layer.num_blobs} in net '{net.name}'"
            )
        for i in sorted(present):
            blob, target = stored.blobs[i], layer.blobs[i]
            if not _same_shape(blob, tuple(target.shape)):
                raise UserError(
                    f"{source}: blob {i} of layer '{stored.name}' has shape {blob_shape(blob)} "
                    f"there, but {tuple(target.shape)} in net '{net.name}'"
                )
            try:
                copies.append((target, array_of(blob)))
            except ValueError as error:
                raise UserError(
                    f"{source}: blob {i} of layer '{stored.name}' cannot be read: {error}"
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


def to_message(net: Net, diff: bool = False, shared: bool = True) -> pb.NetParameter:
    """Return ``net`` with the present values of its blobs, as a ``.caffemodel`` holds it.

    Args:
        net: The net.
        diff: Also store the gradients, as the last update left them.
        shared: Store a blob in every layer that uses it; else only in the one that owns it.
    """
    owned = {(param.layer, param.index) for param in net.params}
    message = pb.NetParameter(name=net.name)
    for node, layer in zip(net.graph.nodes, net.layers):
        stored = message.layer.add()
        stored.CopyFrom(node.layer)
        stored.phase = net.phase  # type: ignore[assignment]
        del stored.blobs[:]
        for i, (blob, own) in enumerate(zip(layer.blobs, layer.own_blobs)):
            target = stored.blobs.add()
            if shared or (node.layer.name, i) in owned:
                target.MergeFrom(_blob_of(blob, own.grad, diff))
    return message


def _blob_of(blob: Tensor, gradient: Tensor | None, diff: bool) -> pb.BlobProto:
    values = blob.detach().cpu().numpy()
    if not diff:
        return blob_of(values)
    if gradient is None:
        return blob_of(values, np.zeros_like(values))
    return blob_of(values, gradient.reshape(blob.shape).cpu().numpy())


def save_weights(net: Net, path: str | os.PathLike[str], diff: bool = False) -> None:
    """Write the weights of ``net`` to ``path``, aside first.

    A name that ends in ``.h5`` asks for HDF5, in which Caffe stores a shared blob only once.
    ``diff`` adds the gradients (``snapshot_diff``).
    """
    hdf5 = os.fspath(path).endswith(".h5")
    write_model(path, to_message(net, diff, shared=not hdf5))
