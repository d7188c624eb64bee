"""A Caffe net as a plain `torch.nn.Module`: load it, cut it, train it with torch.optim, save it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_net, upgrade_net
from scratchdet_caffe.engine.errors import LayerError
from scratchdet_caffe.engine.graph import Graph, build_graph
from scratchdet_caffe.engine.net import Net
from scratchdet_caffe.engine.weights import load_weights, save_weights
from scratchdet_caffe.errors import UserError, nearest

Path = str | os.PathLike[str]


def load(
    prototxt: Path | pb.NetParameter,
    weights: Path | None = None,
    phase: int = pb.TEST,
    level: int = 0,
    stages: Iterable[str] = (),
    seed: int = 0,
    inputs: Mapping[str, Sequence[int]] | None = None,
    outputs: Sequence[str] | None = None,
) -> Net:
    """Build the net of ``prototxt`` as a module: blobs by name in, blobs by name out.

    ``net(data=x)`` and ``net({"data": x})`` run it. Parameters are named by layer and index
    (``conv1.0``); a parameter that layers share appears once.

    Args:
        prototxt: The net's file, or the net itself.
        weights: A ``.caffemodel`` or ``.caffemodel.h5``, matched by layer name.
        phase: `TRAIN` or `TEST`: which layers there are, and the mode the module starts in.
        level: The level of NetState rules.
        stages: The stages of NetState rules.
        seed: Where fresh weights and dropout draw their randomness from.
        inputs: Blobs that the caller will provide, with their shapes; the layers that would
            make them (a data layer, say) are left out.
        outputs: Blobs to return; layers that none of them needs are left out.

    Raises:
        UserError: A file is missing or wrong, an output is unknown, or a layer cannot be built.
    """
    if isinstance(prototxt, pb.NetParameter):
        param = upgrade_net(prototxt, f"net '{prototxt.name}'")
    else:
        param = read_net(prototxt)
    stages = tuple(stages)
    if inputs or outputs is not None:
        graph = build_graph(param, phase, level, stages)
        outputs = _made_without(graph, inputs or {}) if outputs is None else outputs
        param = _cut(param, graph, inputs or {}, outputs)
    net = Net(param, phase, level, stages, seed)
    if outputs is not None:
        net.graph.outputs = list(outputs)  # one that another one needs is still asked for
    if weights is not None:
        load_weights(net, weights)
    return net


def save_caffemodel(module: nn.Module, path: Path) -> None:
    """Write the weights of ``module`` as a ``.caffemodel`` (HDF5 where the name ends in .h5).

    Args:
        module: What `load` returned, bare, compiled or inside DistributedDataParallel.
        path: The file; it is written aside first.

    Raises:
        UserError: The module holds no Caffe net, or the file cannot be written.
    """
    save_weights(_net_in(module), path)


def parameter_groups(
    module: nn.Module, lr: float, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Group parameters for an optimiser of torch.optim, as lr_mult and decay_mult ask.

    ``torch.optim.SGD(parameter_groups(net, lr, weight_decay), momentum=m)`` then takes Caffe's
    SGD steps. (After a change of lr the two differ: Caffe's momentum remembers steps, torch's
    gradients.)

    Args:
        module: What `load` returned, bare, compiled or inside DistributedDataParallel.
        lr: The solver's ``base_lr``.
        weight_decay: The solver's ``weight_decay``.

    Returns:
        One group for each pair of multipliers; blobs with lr_mult 0 are in none.
    """
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for param in _net_in(module).params:
        if not param.lr_mult:
            continue
        rate, decay = lr * param.lr_mult, weight_decay * param.decay_mult
        group = {"params": [], "lr": rate, "weight_decay": decay}
        groups.setdefault((rate, decay), group)["params"].append(param.tensor)
    return list(groups.values())


def _net_in(module: nn.Module) -> Net:
    """The net inside the wrappers of DistributedDataParallel and torch.compile."""
    inner: object = module
    while isinstance(inner, nn.Module) and not isinstance(inner, Net):
        wrapped = getattr(inner, "module", None)
        inner = getattr(inner, "_orig_mod", None) if wrapped is None else wrapped
    if not isinstance(inner, Net):
        raise UserError(f"a {type(module).__name__} holds no Caffe net; use what `load` returned")
    return inner


def _makes(layer: pb.LayerParameter) -> set[str]:
    """Blobs that ``layer`` makes; one that it changes in place is another's."""
    return set(layer.top) - set(layer.bottom)


def _made_without(graph: Graph, inputs: Mapping[str, object]) -> list[str]:
    """Outputs of ``graph`` that are still made where ``inputs`` are the caller's."""
    replaced = [node.layer for node in graph.nodes if _makes(node.layer) & set(inputs)]
    lost = {blob for layer in replaced for blob in layer.top}
    return [blob for blob in graph.outputs if blob not in lost]


def _cut(
    param: pb.NetParameter,
    graph: Graph,
    inputs: Mapping[str, Sequence[int]],
    outputs: Iterable[str],
) -> pb.NetParameter:
    """``param`` with only the layers of ``graph`` between ``inputs`` and ``outputs``."""
    for blob in (*inputs, *outputs):
        if blob not in graph.last:
            raise UserError(f"net '{param.name}': no blob '{blob}'{nearest(blob, graph.last)}")
    needed = {graph.last[blob] for blob in outputs}
    kept = []
    for node in reversed(graph.nodes):
        missing = {graph.blob_of[value] for value in needed & set(node.tops)}
        if missing and _makes(node.layer) & set(inputs):
            if blobs := sorted(missing - set(inputs)):
                raise LayerError(
                    node.layer, f"is left out, so blob '{blobs[0]}' must be an input, too"
                )
        elif missing:
            needed.update(node.bottoms)
            kept.append(node.layer)
    out = pb.NetParameter()
    out.CopyFrom(param)
    del out.layer[:]
    for blob, shape in inputs.items():
        layer = out.layer.add(name=blob, type="Input", top=[blob])
        layer.input_param.shape.add(dim=list(shape))
    out.layer.extend(reversed(kept))
    return out
