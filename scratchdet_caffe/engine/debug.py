"""The lines that `debug_info` adds to the log: how large every blob and every gradient is.

A size is the mean of absolute values.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from scratchdet_caffe import glog
from scratchdet_caffe.engine.layers import Layer
from scratchdet_caffe.engine.layers.data import Input
from scratchdet_caffe.engine.net import Net

LOG = logging.getLogger("caffe")
Edges = dict[int, tuple[Tensor, ...]]


@contextmanager
def debug_info(net: Net, inputs: Mapping[str, Tensor]) -> Iterator[None]:
    """Log the forward and the backward pass that are made inside, as Caffe's net does.

    Every layer runs on its own meanwhile, so that the log shows what stands between them.

    Args:
        net: The net that runs.
        inputs: What the pass gives to its Input layers.
    """
    edges: Edges = {}
    hooks = []
    for i, (node, layer) in enumerate(zip(net.graph.nodes, net.layers)):
        if isinstance(layer, Input):
            _log_forward(layer, [inputs[blob] for blob in node.layer.top])
        hooks.append(layer.register_forward_pre_hook(partial(_hold, edges, i)))
        hooks.append(layer.register_forward_hook(lambda layer, _, tops: _log_forward(layer, tops)))
    net.layer_by_layer = True
    try:
        yield
    finally:
        net.layer_by_layer = False
        for hook in hooks:
            hook.remove()
    _log_backward(net, edges)


def _hold(edges: Edges, index: int, layer: Any, bottoms: tuple[Tensor, ...]) -> None:
    """Remember what layer ``index`` reads, and let it keep its gradient."""
    for bottom in bottoms:
        if bottom.requires_grad:
            bottom.retain_grad()
    edges[index] = bottoms


def _log_forward(layer: Any, tops: Any) -> None:
    name, param = layer.param.name, layer.param
    for blob, top in zip(param.top, tops):
        LOG.info(f"    [Forward] Layer {name}, top blob {blob} data: {_size(top)}")
    for i, values in enumerate(layer.blobs):
        # A blob that layers share goes by its name.
        shown = (param.param[i].name if i < len(param.param) else "") or str(i)
        LOG.info(f"    [Forward] Layer {name}, param blob {shown} data: {_size(values)}")


def _log_backward(net: Net, edges: Edges) -> None:
    for i, node in reversed(list(enumerate(net.graph.nodes))):
        layer, bottoms = net.layers[i], edges.get(i, ())
        if not _took_part(layer, bottoms):
            continue
        head = f"    [Backward] Layer {node.layer.name}, "
        for blob, bottom in zip(node.layer.bottom, bottoms):
            if bottom.requires_grad:
                LOG.info(f"{head}bottom blob {blob} diff: {_size(bottom.grad)}")
        for j, values in enumerate(layer.own_blobs):
            # Statistics have no gradient; Caffe shows it as 0.
            if values.requires_grad or not layer.learnable:
                LOG.info(f"{head}param blob {j} diff: {_size(values.grad)}")
    data = [param.tensor.detach() for param in net.params]
    diff = [values.grad for values in (p.tensor for p in net.params) if values.grad is not None]
    norms = [
        ", ".join(glog.number(_norm(tensors, order)) for tensors in (data, diff))
        for order in (1, 2)
    ]
    LOG.info(
        f"    [Backward] All net params (data, diff): "
        f"L1 norm = ({norms[0]}); L2 norm = ({norms[1]})"
    )


def _took_part(layer: Layer, bottoms: tuple[Tensor, ...]) -> bool:
    """Whether a gradient reached the layer."""
    reached = [b for b in bottoms if b.requires_grad and b.grad is not None]
    return bool(reached) or any(blob.grad is not None for blob in layer.own_blobs)


def _size(values: Tensor | None) -> str:
    if values is None:
        return "0"
    return glog.number(float(values.detach().float().abs().mean()))


def _norm(tensors: list[Tensor], order: int) -> float:
    """The L1 or L2 norm of all numbers of ``tensors``."""
    parts = [torch.linalg.vector_norm(values.float(), order) for values in tensors]
    return float(torch.linalg.vector_norm(torch.stack(parts), order)) if parts else 0.0
