"""A Caffe net as a `torch.nn.Module`.

Built once from a NetParameter, a net is a flat list of steps over numbered values (see
``graph``). Running it calls the steps in order and lets go of each value after its last reader,
so that the engine holds no more than the backward pass needs. Autograd does backward.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.errors import LayerError
from scratchdet_caffe.engine.graph import Graph, Node, build_graph, mark_gradients
from scratchdet_caffe.engine.layers import Context, Layer, layer_class, loss_types
from scratchdet_caffe.engine.layers.base import Drawing
from scratchdet_caffe.engine.layers.data import Input, Source
from scratchdet_caffe.engine.memory import memory_told, raise_if_out_of_memory, too_much
from scratchdet_caffe.engine.params import share_and_fill
from scratchdet_caffe.engine.plan import Step, compile_steps
from scratchdet_caffe.engine.precision import computing_in
from scratchdet_caffe.engine.shapes.registry import Shape, spec_of
from scratchdet_caffe.engine.splits import with_splits
from scratchdet_caffe.errors import UserError


class Net(nn.Module):
    """A net of one phase; parameters are named by layer and index, e.g. ``conv1.0``.

    Args:
        param: The net as read from prototxt.
        phase: ``pb.TRAIN`` or ``pb.TEST``.
        level: The level of NetState rules.
        stages: The stages of NetState rules.
        seed: Where weights and data draw their randomness from.
        shard: Rank and number of the processes that share the records of data layers.

    Attributes:
        graph: The wiring: layers, blobs, values.
        layers: The layers in the order in which they run.
        params: The parameter blobs that the net owns.
        shapes: The shape of each value for which the net was built.
        loss_terms: Values that enter the loss, with their weights.

    Raises:
        UserError: The net cannot be wired, or a layer cannot be built.
    """

    #: Whether every layer runs on its own, for who wants to see all that stands between them.
    layer_by_layer = False
    #: In which numbers passes are made, see `engine.precision`.
    precision = "float32"

    def __init__(
        self,
        param: pb.NetParameter,
        phase: int,
        level: int = 0,
        stages: Iterable[str] = (),
        seed: int = 0,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__()
        self.phase, self.seed, self.shard = phase, seed, shard
        graph = build_graph(param, phase, level, stages, loss_types())
        self.graph: Graph = with_splits(graph)
        self.shapes: list[Shape] = [()] * len(self.graph.blob_of)
        self._plans: dict[tuple[frozenset[int], range], list[Step]] = {}
        self._held: list[Shape] = []
        self.layers = [self._build(node) for node in self.graph.nodes]
        self._given = [
            (i, value, blob)
            for i, (node, layer) in enumerate(zip(self.graph.nodes, self.layers))
            if isinstance(layer, Input)
            for value, blob in zip(node.tops, node.layer.top)
        ]
        self.loss_terms = [
            (value, weight)
            for node in self.graph.nodes
            for value, weight in zip(node.tops, node.loss_weights)
            if weight
        ]
        self.params = share_and_fill(self.layers, seed)
        for p in self.params:
            learns = p.owner.learnable and (p.lr_mult != 0 or self.graph.force_backward)
            p.tensor.requires_grad_(learns)
        mark_gradients(self.graph, [_learns(layer) for layer in self.layers])
        for node, layer in zip(self.graph.nodes, self.layers):
            layer.context.propagate_down = node.propagate_down
        self.train(phase == pb.TRAIN)

    @property
    def name(self) -> str:
        """The net's name."""
        return self.graph.name

    @property
    def device(self) -> torch.device:
        """Where the net computes."""
        return self.params[0].tensor.device if self.params else torch.device("cpu")

    @property
    def inputs(self) -> list[str]:
        """Blobs that the caller provides: the tops of Input layers."""
        return [blob for _layer, _value, blob in self._given]

    @property
    def outputs(self) -> list[str]:
        """Blobs that no layer reads."""
        return self.graph.outputs

    @property
    def sources(self) -> dict[str, Drawing]:
        """The layers that draw, data or random numbers, by name."""
        return {layer.param.name: layer for layer in self.layers if isinstance(layer, Drawing)}

    def forward(
        self, inputs: Mapping[str, Tensor] | None = None, keep: Iterable[str] = (), **blobs: Tensor
    ) -> dict[str, Tensor]:
        """Run the net once.

        Args:
            inputs: A tensor for each blob of `inputs`.
            keep: Blobs to return beside the outputs.
            blobs: The same as ``inputs``, by keyword.

        Returns:
            The output blobs, those of ``keep``, and every blob with a loss weight, by name.

        Raises:
            TypeError: ``inputs`` is a tensor, of nobody knows which blob.
        """
        if isinstance(inputs, Tensor):
            names = ", ".join(f"{name}=..." for name in self.inputs)
            raise TypeError(f"a net takes its inputs by name, net({names}), not a tensor alone")
        wanted = {self.graph.last[blob] for blob in (*self.graph.outputs, *keep)}
        given = {**(inputs or {}), **blobs}
        values = self.run(given, wanted | {value for value, _ in self.loss_terms})
        return {self.graph.blob_of[value]: values[value] for value in sorted(values)}

    def loss(self, blobs: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum of the loss blobs that `forward` returned, a scalar."""
        total = torch.zeros((), device=self.device)
        for value, weight in self.loss_terms:
            total = total + weight * blobs[self.graph.blob_of[value]].sum()
        return total

    def run(
        self,
        inputs: Mapping[str, Tensor],
        keep: Iterable[int],
        layers: range | None = None,
        given: Mapping[int, Tensor] | None = None,
    ) -> dict[int, Tensor]:
        """Run the net, or some layers of it, and return the values numbered in ``keep``.

        Args:
            inputs: A tensor for each blob of `inputs`.
            keep: Numbers of the values to return.
            layers: Indices of the layers to run, one after the other; all by default.
            given: Values that those layers read from layers before them.
        """
        layers = range(len(self.layers)) if layers is None else layers
        keep = frozenset(keep)
        values = dict(given or {})
        for i, value, blob in self._given:
            if i in layers:
                if blob not in inputs:
                    raise UserError(f"net '{self.name}': no data for input blob '{blob}'")
                values[value] = inputs[blob]
        shown = frozenset(range(len(self.graph.blob_of))) if self.layer_by_layer else keep
        with computing_in(self.precision, self.device):
            self._run_steps(self._plan(shown, layers), values)
        return {value: values[value] for value in keep}

    def _run_steps(self, steps: list[Step], values: dict[int, Tensor]) -> None:
        """Run ``steps`` one after the other on ``values``, which are theirs to add and to drop."""
        device = self.device.type
        mixed = torch.is_autocast_enabled(device)
        for step in steps:
            bottoms = [values[value] for value in step.bottoms]
            if step.cut:
                bottoms = [b.detach() if cut else b for b, cut in zip(bottoms, step.cut)]
            try:
                if mixed and not step.takes_half:
                    with torch.autocast(device, enabled=False):
                        full = (b.float() if b.is_floating_point() else b for b in bottoms)
                        tops = step.run(*full)
                else:
                    tops = step.run(*bottoms)
            except (RuntimeError, MemoryError) as error:
                raise_if_out_of_memory(error, step.layer)
                raise
            values.update(zip(step.tops, tops))
            for value in step.free:
                del values[value]

    def channels_last(self) -> Net:
        """Lay out images and kernels channels-last, which most kernels prefer; return self."""
        for param in self.params:
            if param.tensor.dim() == 4 and not param.reshaped:
                param.tensor.data = param.tensor.data.contiguous(memory_format=torch.channels_last)
        return self

    def share_with(self, other: Net) -> None:
        """Use the blobs of ``other``'s layers of the same name from now on.

        Raises:
            LayerError: Two layers of one name have blobs of different shapes.
        """
        mine = {layer.param.name: layer for layer in self.layers}
        for theirs in other.layers:
            layer = mine.get(theirs.param.name)
            if layer is None:
                continue
            for i, (blob, own) in enumerate(zip(theirs.own_blobs, layer.own_blobs)):
                if blob.shape != own.shape:
                    raise layer.error(
                        f"cannot share blob {i}: shapes differ, {tuple(own.shape)} here and "
                        f"{tuple(blob.shape)} in net '{other.name}'"
                    )
                setattr(layer, str(i), blob)

    @contextmanager
    def fixed_statistics(self) -> Iterator[None]:
        """Put the blobs that no gradient moves (BatchNorm's) back to what they are now."""
        before = [(buffer, buffer.clone()) for buffer in self.buffers()]
        yield
        for buffer, values in before:
            buffer.copy_(values)

    def _build(self, node: Node) -> Layer:
        layer_param = node.layer
        spec = spec_of(layer_param, [self.shapes[value] for value in node.bottoms])
        self._held += spec.params
        lacks = [too_much(self._held), *(too_much([shape]) for shape in spec.tops)]
        if any(lacks):
            raise LayerError(layer_param, f"needs too much memory: {max(lacks)}")
        reverse = self.graph.force_backward
        context = Context(self.phase, self.seed, force_backward=reverse, shard=self.shard)
        with memory_told(layer_param):
            layer = layer_class(layer_param)(layer_param, spec, context)
        if len(layer_param.param) > layer.num_blobs:
            raise LayerError(
                layer_param,
                f"has {len(layer_param.param)} param entries, but {layer.num_blobs} blobs",
            )
        tops = layer.top_shapes if isinstance(layer, Source) else spec.tops
        for value, shape in zip(node.tops, tops):
            self.shapes[value] = shape
        self.add_module(_module_name(layer_param.name, self._modules), layer)
        return layer

    def _plan(self, keep: frozenset[int], layers: range) -> list[Step]:
        if (keep, layers) not in self._plans:
            self._plans[keep, layers] = compile_steps(
                self.graph, self.layers, layers, keep, self._draw
            )
        return self._plans[keep, layers]

    def _draw(self, source: Source) -> tuple[Tensor, ...]:
        tops = tuple(top.to(self.device, non_blocking=True) for top in source())
        if not (self.graph.force_backward and torch.is_grad_enabled()):
            return tops
        return tuple(top.detach().requires_grad_(top.is_floating_point()) for top in tops)


def _learns(layer: Layer) -> bool:
    return any(blob.requires_grad for blob in layer.own_blobs)


def _module_name(layer_name: str, taken: Mapping[str, object]) -> str:
    """A module name for a layer: no dots, no clash with an attribute or another layer."""
    name = layer_name.replace(".", "_") or "_"
    while name in taken or hasattr(Net, name) or name in _RESERVED:
        name += "_"
    return name


_RESERVED = {"phase", "seed", "shard", "graph", "shapes", "params", "layers", "loss_terms"} | {
    "training",
    "_given",
    "_plans",
}
