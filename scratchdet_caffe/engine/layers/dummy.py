"""The layer whose data are made up."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.fillers import fill
from scratchdet_caffe.engine.layers.base import Context, Tops, layer
from scratchdet_caffe.engine.layers.data import Source
from scratchdet_caffe.engine.shapes.registry import Spec
from scratchdet_caffe.errors import UserError


@layer("DummyData")
class DummyData(Source):
    """Tops filled by fillers: constants, or random numbers anew for every pass.

    The numbers of a pass depend on the seed, the layer's name and the pass (`position`) alone.

    Attributes:
        constants: By index, where to get the tops that are filled only once: what a program
            writes over them stays (Caffe's rule), so they may be its own arrays.
    """

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: Context) -> None:
        super().__init__(param, spec, context)
        self.top_shapes = spec.tops
        self.position = 0
        fillers = list(param.dummy_data_param.data_filler) or [pb.FillerParameter()]
        self._fillers = [fillers[i % len(fillers)] for i in range(len(spec.tops))]
        self.constants: dict[int, Callable[[], Tensor]] = {
            i: partial(Tensor.detach, self._filled(i))
            for i, filler in enumerate(self._fillers)
            if filler.type == "constant"
        }

    @property
    def per_pass(self) -> int:
        """A pass is counted as one."""
        return 1

    def coming(self) -> list[str]:
        return [f"pass {self.position}"]

    def forward(self, *bottoms: Tensor) -> Tops:
        tops = tuple(
            self.constants[i]() if i in self.constants else self._filled(i)
            for i in range(len(self.top_shapes))
        )
        self.position += 1
        return tops

    def _filled(self, index: int) -> Tensor:
        top = torch.zeros(self.top_shapes[index])
        random = self.context.generator("dummy", self.param.name, index, self.position)
        try:
            fill(top, self._fillers[index], random)
        except UserError as error:
            raise self.error(str(error)) from error
        return top
