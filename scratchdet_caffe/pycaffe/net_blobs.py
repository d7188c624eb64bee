"""The blobs of a net, as a program sees them."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

import torch
from torch import Tensor

from scratchdet_caffe.engine.layers.common import Split
from scratchdet_caffe.engine.layers.dummy import DummyData
from scratchdet_caffe.engine.net import Net
from scratchdet_caffe.pycaffe.blob import Blob, CopyBlob


def blobs_of(net: Net) -> OrderedDict[str, Blob]:
    """Return a `Blob` for each blob of ``net``, in the order in which they are made.

    What a Split layer makes shares the data of what it reads. What a DummyData layer fills only
    once is there from the start, and the layer serves from then on what a program writes there.
    """
    blobs = OrderedDict((blob, Blob(net.shapes[value])) for blob, value in net.graph.last.items())
    for node, layer in zip(net.graph.nodes, net.layers):
        if isinstance(layer, Split):
            source = blobs[node.layer.bottom[0]]
            for top, value in zip(node.layer.top, node.tops):
                blobs[top] = CopyBlob(net.shapes[value], source)
        elif isinstance(layer, DummyData):
            for i, constant in layer.constants.items():
                blob = blobs[node.layer.top[i]]
                blob.set_value(constant())
                layer.constants[i] = partial(_copy, blob, net)
    return blobs


def _copy(blob: Blob, net: Net) -> Tensor:
    """The present values: a copy, as the next layer may work in place on them."""
    device: torch.device = net.device
    return blob.as_tensor(device).clone()
