"""What cells would cost: time by counted FLOPs, disk by counted parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.engine.shapes import infer
from scratchdet_caffe.render import job_files
from scratchdet_caffe.study.cells import Cell
from scratchdet_caffe.study.steps import KEPT

TFLOPS = {"cpu": 0.05, "cuda": 10.0}
"""Sustained speed that the estimates assume, of one core or one GPU, in 1e12 FLOPs a second."""

_PASSES = 3  # a backward pass costs two forward ones
_LOOKS = 32  # what the looks of RefineDet's list for 320 pixels come to, in pictures of that size
_FLOAT = 4  # bytes


@dataclass(frozen=True)
class Cost:
    """An estimate.

    Attributes:
        flops: Of training and of the tests in between and after.
        bytes: Of all snapshots.
    """

    flops: float
    bytes: float

    def hours(self, tflops: float) -> float:
        """Return the time at that speed."""
        return self.flops / (tflops * 1e12) / 3600


def cost_of(cell: Cell, traced: bool = False) -> Cost:
    """Return what ``cell`` costs from nothing; a cell that only scores another one, its test.

    Of a ``traced`` training all snapshots stay. The nets are laid out, not run: priors, matching
    and augmentation are not counted.
    """
    job, solver = cell.job, cell.job.recipe.solver
    deploy = parse_text(job_files(job)["deploy.prototxt"], pb.NetParameter, "deploy.prototxt")
    layers = infer(deploy, pb.TEST).layers
    forward = sum(layer.flops for layer in layers)
    test = forward * job.dataset.test_images
    if cell.row.scores:
        return Cost(_LOOKS * test, 0)
    pictures = solver.max_iter * (solver.iter_size or 1) * job.recipe.data.batch_size
    rounds = 1 + (solver.max_iter // solver.test_interval if solver.test_interval else 0)
    values = sum(math.prod(shape) for layer in layers for shape in layer.params)
    snapshots = KEPT
    if traced:
        snapshots = max(1, solver.max_iter // solver.snapshot) if solver.snapshot else 1
    # Weights, and the momentum of each.
    return Cost(_PASSES * forward * pictures + rounds * test, snapshots * 2 * values * _FLOAT)
