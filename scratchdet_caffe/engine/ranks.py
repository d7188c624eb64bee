"""Several processes that train one net together, as torchrun starts them.

    torchrun --nproc-per-node 4 -m scratchdet_caffe.train --solver ... --device cuda

Each has its own batch, as large as the prototxt says, and its own GPU; gradients are averaged, so
that all make the same update. Two groups connect the processes: one for tensors (NCCL on GPUs, Gloo
on CPUs) and one for words between the processes themselves (always Gloo), which neither waits for
a GPU nor is waited for by one.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from scratchdet_caffe import torchrun
from scratchdet_caffe.errors import UserError

T = TypeVar("T")
_PATIENCE = timedelta(minutes=30)


class PeerLost(Exception):
    """Another process of the run is gone, so this one cannot go on either."""


class Ranks:
    """This process among those that train together; by default it is alone.

    Args:
        rank: Its number, from 0.
        world: How many there are.
        batch_norm: What BatchNorm does across processes: "local", each its own statistics, of
            which the first's are kept (Caffe's rule); "broadcast", the first's sums go to all
            before each iteration; "sync", all normalise by the statistics of all batches together.
        loss_norm: What a loss with ``normalization: VALID`` is divided by: "local", each process
            by its own count (Caffe's rule); "all", by the mean of the counts of all.
        words: The group for words between processes.

    Every method is to be called by all processes, in the same order.
    """

    def __init__(
        self,
        rank: int = 0,
        world: int = 1,
        batch_norm: str = "local",
        loss_norm: str = "local",
        words: Any = None,
    ) -> None:
        self.rank, self.world = rank, world
        self.batch_norm, self.loss_norm = batch_norm, loss_norm
        self._words = words

    @property
    def shard(self) -> tuple[int, int]:
        """Rank and number of processes."""
        return self.rank, self.world

    def most(self, *values: float) -> list[float]:
        """Return the largest of each value over all processes."""
        return self._reduced(values, dist.ReduceOp.MAX)

    def mean(self, *values: float) -> list[float]:
        """Return the mean of each value over all processes; NaN and infinity win."""
        return [total / self.world for total in self._reduced(values, dist.ReduceOp.SUM)]

    def _reduced(self, values: Sequence[float], how: Any) -> list[float]:
        if self.world == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64)
        _guarded(lambda: dist.all_reduce(tensor, how, group=self._words))
        return tensor.tolist()

    def first_says(self, value: T) -> T:
        """Return what the first process has for ``value``."""
        if self.world == 1:
            return value
        said: list[Any] = [value]
        _guarded(lambda: dist.broadcast_object_list(said, src=0, group=self._words))
        return said[0]  # type: ignore[no-any-return]

    def all_say(self, value: T) -> list[T]:
        """Return what each process has for ``value``, by rank."""
        said: list[Any] = [value] * self.world
        if self.world > 1:
            _guarded(lambda: dist.all_gather_object(said, value, group=self._words))
        return said

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite ``tensors`` with those of the first process."""
        if self.world == 1 or not tensors:
            return
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        _guarded(lambda: dist.broadcast(flat, src=0))
        with torch.no_grad():
            for tensor, values in zip(tensors, torch.split(flat, [t.numel() for t in tensors])):
                tensor.copy_(values.reshape(tensor.shape))

    def start_sum(self, tensor: Tensor) -> Callable[[], None]:
        """Begin to sum ``tensor`` over all processes, in place; return what waits for the end."""
        work = _guarded(lambda: dist.all_reduce(tensor, async_op=True))
        return lambda: _guarded(work.wait)

    def pooled(self, count: Tensor) -> Tensor:
        """Return the mean of ``count``, a scalar, over all processes; 1 / world or more."""
        total = count.detach().float().clone()
        self.start_sum(total)()
        return total.clamp(min=1) / self.world

    def gathered(self, tensor: Tensor) -> Tensor:
        """Return the ``tensor`` (K,) of every process, ``(world, K)``."""
        out = tensor.new_empty(self.world, len(tensor))
        _guarded(lambda: dist.all_gather(list(out.unbind()), tensor))
        return out


def _guarded(call: Callable[[], Any]) -> Any:
    """Make ``call``; what the library raises when a process is gone becomes a `PeerLost`."""
    try:
        return call()
    except RuntimeError as error:
        raise PeerLost(str(error).splitlines()[0]) from error


_present = Ranks()


def current() -> Ranks:
    """Return this process among its like; alone until `join` is called."""
    return _present


def join(device: str, batch_norm: str = "local", loss_norm: str = "local") -> Ranks:
    """Meet the processes that torchrun started together with this one.

    Args:
        device: "cpu" or "cuda".
        batch_norm: See `Ranks`.
        loss_norm: See `Ranks`.

    Raises:
        UserError: There are fewer GPUs here than processes, or they do not meet.
    """
    global _present
    for name, given, known in (
        ("batch_norm", batch_norm, torchrun.BATCH_NORMS),
        ("loss_norm", loss_norm, torchrun.LOSS_NORMS),
    ):
        if given not in known:
            raise UserError(f"{name} must be {', '.join(known)}, not '{given}'")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or dist.is_initialized():
        return _present
    if device == "cuda":
        if torchrun.local_rank() >= torch.cuda.device_count():
            raise UserError(
                f"process {torchrun.local_rank()} of this machine has no GPU of its own: there are "
                f"{torch.cuda.device_count()}; start fewer with --nproc-per-node"
            )
        torch.cuda.set_device(torchrun.local_rank())
    try:
        store, rank, world = next(rendezvous("env://"))
        dist.init_process_group(
            "nccl" if device == "cuda" else "gloo",
            store=_fresh(store, rank, world),
            rank=rank,
            world_size=world,
            timeout=_PATIENCE,
        )
        words = dist.new_group(backend="gloo", timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"the processes of torchrun do not meet: {error}") from error
    _present = Ranks(rank, world, batch_norm, loss_norm, words)
    return _present


def _fresh(store: Any, rank: int, world: int) -> Any:
    """Return a part of ``store`` that nobody has used.

    torchrun may keep one store through its restarts, with the addresses of processes that are
    dead; and its count of restarts differs from machine to machine. So the first process thinks
    of a word, and tells it to those that are alive: each shows one of its own before.
    """
    word, deadline = uuid.uuid4().hex, time.monotonic() + _PATIENCE.total_seconds()
    if rank:
        store.set(f"here/{rank}", word)
        said = store.get(f"answer/{word}").decode()
        store.set(f"heard/{said}/{rank}", "")
        return PrefixStore(said, store)
    missing = set(range(1, world))
    while missing:
        for other in sorted(missing):
            if store.check([f"here/{other}"]):
                store.set(f"answer/{store.get(f'here/{other}').decode()}", word)
            if store.check([f"heard/{word}/{other}"]):
                missing.remove(other)
        if time.monotonic() > deadline:
            raise RuntimeError(f"process {min(missing)} has not come")
        time.sleep(0.01)
    return PrefixStore(word, store)


def leave() -> None:
    """Part from the other processes; nothing may be asked of them any more."""
    global _present
    if dist.is_initialized():
        dist.destroy_process_group()
    _present = Ranks()


def first_to_fail() -> bool:
    """Whether no other process has said yet that it failed: the one message is this one's."""
    if not dist.is_initialized():
        return True
    try:
        store = dist.distributed_c10d._get_default_store()
        return int(store.add("failed", 1)) == 1
    except RuntimeError:  # the store is gone with the process that kept it
        return False
