"""Averages gradients over processes while the backward pass still computes the others.

Parameters stand in buckets, the last ones first, as backward reaches them. A bucket whose gradients
are all there is sent at once; buckets are sent in one order everywhere, whatever the order in which
they fill. (torch's DistributedDataParallel does the same around a module's forward; it cannot be
used here, since several passes make one iteration, a parameter may get no gradient at all, and a
program may hold a gradient's memory.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from scratchdet_caffe.engine.ranks import Ranks

_BUCKET_BYTES = 25 << 20

_foreach: Any = torch


class _Bucket:
    def __init__(self, tensors: list[Tensor]) -> None:
        self.tensors = tensors
        self.flat = torch.zeros(sum(t.numel() for t in tensors), device=tensors[0].device)
        parts = torch.split(self.flat, [t.numel() for t in tensors])
        self.views = [part.view(tensor.shape) for part, tensor in zip(parts, tensors)]
        self.missing = len(tensors)
        self.wait: Callable[[], None] | None = None

    def send(self, ranks: Ranks) -> None:
        """A parameter without a gradient sends zeros."""
        for view, tensor in zip(self.views, self.tensors):
            if tensor.grad is None:
                view.zero_()
            else:
                view.copy_(tensor.grad)
        self.wait = ranks.start_sum(self.flat)

    def receive(self, ranks: Ranks) -> None:
        assert self.wait is not None
        self.wait()
        self.flat.mul_(1.0 / ranks.world)
        for view, tensor in zip(self.views, self.tensors):
            if tensor.grad is None:
                tensor.grad = torch.empty_like(tensor, requires_grad=False)
            tensor.grad.copy_(view)
        self.missing, self.wait = len(self.tensors), None


class GradientAverage:
    """Replaces the gradients of ``tensors`` by their mean over all processes.

    Set `active` before the last backward pass of an iteration, and call `finish` after it.
    """

    def __init__(self, ranks: Ranks, tensors: Sequence[Tensor]) -> None:
        self.ranks, self.active = ranks, False
        self._buckets: list[_Bucket] = []
        self._sent = 0
        group: list[Tensor] = []
        for tensor in reversed([t for t in tensors if t.requires_grad]):
            if sum(t.nbytes for t in (*group, tensor)) > _BUCKET_BYTES and group:
                self._add(group)
                group = []
            group.append(tensor)
        if group:
            self._add(group)

    def _add(self, tensors: list[Tensor]) -> None:
        bucket = _Bucket(list(tensors))
        self._buckets.append(bucket)
        for tensor in tensors:
            hook: Any = tensor.register_post_accumulate_grad_hook
            hook(partial(self._ready, bucket))

    def _ready(self, bucket: _Bucket, tensor: Tensor) -> None:
        if not self.active:
            return
        bucket.missing -= 1
        while self._sent < len(self._buckets) and not self._buckets[self._sent].missing:
            self._buckets[self._sent].send(self.ranks)
            self._sent += 1

    def finish(self) -> None:
        """Send what is left, and wait until every gradient is the mean."""
        for bucket in self._buckets[self._sent :]:
            bucket.send(self.ranks)
        for bucket in self._buckets:
            bucket.receive(self.ranks)
        self._sent, self.active = 0, False
