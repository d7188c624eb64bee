"""The training loop with Caffe's rules and Caffe's log."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from scratchdet_caffe import glog
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.averaging import GradientAverage
from scratchdet_caffe.engine.checks import check_solver
from scratchdet_caffe.engine.debug import debug_info
from scratchdet_caffe.engine.layers.normalization import BatchNorm
from scratchdet_caffe.engine.net import Net
from scratchdet_caffe.engine.params import Param
from scratchdet_caffe.engine.precision import check_precision
from scratchdet_caffe.engine.ranks import Ranks
from scratchdet_caffe.engine.rates import LearningRate
from scratchdet_caffe.engine.solver_nets import NetSource, test_sources, train_source
from scratchdet_caffe.engine.testing import Feed, test_net
from scratchdet_caffe.engine.updates import add_scaled, update_rule

LOG = logging.getLogger("caffe")

_foreach: Any = torch


class Solver:
    """Trains a net as Caffe's solvers do.

    Args:
        param: The solver as read from prototxt.
        device: Where to compute.
        ranks: This process among those that train together; by default it is alone.
        precision: In which numbers to train, see `engine.precision`; tests are always float32.

    Attributes:
        net: The train net.
        test_nets: The test nets; they share the train net's blobs.
        iter: Iterations done.
        history: The update rule's memory, in the order of the ``.solverstate``.
        callbacks: Pairs called before each iteration and before each update.
        feed: Provides the blobs of the train net's Input layers, if it has any.
        test_feeds: The same for each test net.
        outputs: Output and loss blobs of the last forward.
        skips: Whether the present iteration makes no update; a callback may say so.

    Raises:
        UserError: The description is contradictory, or a net cannot be built.
    """

    def __init__(
        self,
        param: pb.SolverParameter,
        device: str | torch.device = "cpu",
        ranks: Ranks | None = None,
        precision: str = "float32",
    ) -> None:
        self.param, self.ranks = param, ranks or Ranks()
        self.seed = param.random_seed
        if self.seed < 0:
            self.seed = self.ranks.first_says(random.getrandbits(31))
        self.rule, slots = update_rule(param)
        self.rate = LearningRate(param)
        check_solver(param)
        self.net = self._make(train_source(param), pb.TRAIN, device)
        self.net.precision = check_precision(precision)
        self.test_nets = [self._make(source, pb.TEST, device) for source in test_sources(param)]
        for test in self.test_nets:
            test.share_with(self.net)
        self.history = [
            torch.zeros_like(p.tensor, requires_grad=False)
            for _ in range(slots)
            for p in self.net.params
        ]
        self.iter = 0
        self.callbacks: list[tuple[Callable[[], None], Callable[[], None]]] = []
        self.feed: Feed = dict
        self.test_feeds: list[Feed] = [dict for _ in self.test_nets]
        self.outputs: dict[str, Tensor] = {}
        self.skips = False
        self._losses: list[float] = []
        self._average: GradientAverage | None = None
        if self.ranks.world > 1:
            self._average = GradientAverage(self.ranks, [p.tensor for p in self.net.params])
        self._alike = False  # whether all processes have the first one's weights

    def _make(self, source: NetSource, phase: int, device: str | torch.device) -> Net:
        # As in Caffe the first process tests alone.
        shard = self.ranks.shard if phase == pb.TRAIN else (0, 1)
        net = Net(source.param, phase, source.level, source.stages, self.seed, shard)
        if phase == pb.TRAIN and self.ranks.world > 1:
            self._join(net)
        net.to(device)
        return net.channels_last()

    def _join(self, net: Net) -> None:
        """Let layers of ``net`` look at the other processes' batches, as far as that is asked."""
        for layer in net.layers:
            if self.ranks.batch_norm == "sync" and isinstance(layer, BatchNorm):
                layer.synced = self.ranks
            if self.ranks.loss_norm == "all":
                layer.context.pool = self.ranks.pooled

    def reseed(self, seed: int) -> None:
        """Let the data of all nets be drawn from ``seed`` from now on."""
        self.seed = seed
        for net in (self.net, *self.test_nets):
            for source in net.sources.values():
                source.reseed(seed)

    @property
    def smoothed_loss(self) -> float:
        """Mean loss of the last ``average_loss`` iterations of this call of `step`."""
        return sum(self._losses) / max(len(self._losses), 1)

    def solve(self) -> None:
        """Train to ``max_iter``, snapshot and test at the end, as ``caffe train`` does."""
        LOG.info(glog.solving(self.net.name))
        LOG.info(glog.learning_rate_policy(self.param.lr_policy))
        self.step(self.param.max_iter - self.iter)
        p = self.param
        if p.snapshot_after_train and (not p.snapshot or self.iter % p.snapshot):
            self.snapshot()
        if p.display and self.iter % p.display == 0:
            # Unlike Caffe's, this last pass leaves BatchNorm's sums alone: the test that follows
            # then scores exactly what the last snapshot holds.
            with torch.no_grad(), self.net.fixed_statistics():
                loss = float(self.net.loss(self.net(self.feed())))
            self._smooth(*self.ranks.mean(loss))
            LOG.info(glog.iteration_loss(self.iter, self.smoothed_loss))
        if p.test_interval and self.iter % p.test_interval == 0:
            self.test_all()
        LOG.info(glog.DONE)

    def step(self, iterations: int) -> None:
        """Train for ``iterations``; the running loss of earlier calls is forgotten (Caffe)."""
        p = self.param
        self._losses = []
        for _ in range(iterations):
            due = p.test_interval and self.iter % p.test_interval == 0
            if due and (self.iter > 0 or p.test_initialization):
                self.test_all()
            for on_start, _ready in self.callbacks:
                on_start()
            self._make_alike()
            shown = bool(p.display) and self.iter % p.display == 0
            self._smooth(self._forward_backward(shown and p.debug_info))
            if shown:
                LOG.info(glog.iteration_loss(self.iter, self.smoothed_loss))
                self._log_outputs()
                for source in self.net.sources.values():
                    if note := source.note():
                        LOG.info(note)
            for _start, on_gradients_ready in self.callbacks:
                on_gradients_ready()
            if self.skips:
                self._skip()
            else:
                self.apply_update(shown)
            self.iter += 1
            if p.snapshot and self.iter % p.snapshot == 0:
                self.snapshot()

    def _skip(self) -> None:
        """Leave this iteration's update out, and its loss out of the running one."""
        self.skips = False
        self._losses.pop()
        self.rate.at(self.iter, self.smoothed_loss)  # a policy may count iterations

    def _make_alike(self) -> None:
        """Give every process the first one's weights, once; and its BatchNorm sums, if asked."""
        if not self._alike:
            self.ranks.broadcast([*(p.tensor for p in self.net.params), *self.history])
        elif self.ranks.batch_norm == "broadcast":
            self.ranks.broadcast(list(self.net.buffers()))
        self._alike = True

    def _forward_backward(self, debug: bool = False) -> float:
        """Sum gradients over ``iter_size`` passes, and average over processes; return the loss."""
        for param in self.net.params:
            param.tensor.grad = None
        total = 0.0
        for left in reversed(range(self.param.iter_size)):
            self.outputs = {}  # what the last pass kept must not live through this one
            feed = self.feed()
            with debug_info(self.net, feed) if debug else nullcontext():
                outputs = self.net(feed)
                loss = self.net.loss(outputs)
                if self._average:
                    self._average.active = not left
                if loss.requires_grad:
                    loss.backward()  # type: ignore[no-untyped-call]
            self.outputs = {blob: value.detach() for blob, value in outputs.items()}
            total += float(loss.detach())
        if self._average:
            self._average.finish()
            return self._mean_loss(total / self.param.iter_size)
        return total / self.param.iter_size

    def _mean_loss(self, loss: float) -> float:
        """The mean of ``loss`` over the processes; the loss blobs show theirs, too."""
        blobs = {self.net.graph.blob_of[value] for value, _ in self.net.loss_terms}
        shown = [blob for blob in sorted(blobs) if self.outputs[blob].numel() == 1]
        mean, *values = self.ranks.mean(loss, *(float(self.outputs[blob]) for blob in shown))
        for blob, value in zip(shown, values):
            self.outputs[blob] = torch.full_like(self.outputs[blob], value)
        return mean

    def _smooth(self, loss: float) -> None:
        self._losses.append(loss)
        del self._losses[: -max(self.param.average_loss, 1)]

    @torch.no_grad()
    def apply_update(self, shown: bool = False) -> None:
        """Change the parameters by their gradients: clip, divide, decay, step (Caffe's order)."""
        p = self.param
        rate = self.rate.at(self.iter, self.smoothed_loss)
        if shown:
            LOG.info(glog.learning_rate(self.iter, rate))
        # A blob with lr_mult 0 has no gradient: it neither counts for clipping nor decays.
        tensors = [param.tensor for param in self.net.params]
        active = [i for i, tensor in enumerate(tensors) if tensor.requires_grad]
        if not active:
            return
        params = [self.net.params[i] for i in active]
        weights = [tensors[i] for i in active]
        grads = [
            torch.zeros_like(weight, requires_grad=False) if weight.grad is None else weight.grad
            for weight in weights
        ]
        self._clip(grads)
        if p.iter_size > 1:
            _foreach._foreach_mul_(grads, 1.0 / p.iter_size)
        self._decay(params, weights, grads)
        count = len(self.net.params)
        slots = len(self.history) // count
        history = [self.history[slot * count + i] for slot in range(slots) for i in active]
        rates = [rate * param.lr_mult for param in params]
        self.rule(weights, grads, history, rates, p, self.iter)

    def _clip(self, grads: list[Tensor]) -> None:
        limit = self.param.clip_gradients
        if limit < 0:
            return
        norm = float(torch.stack(_foreach._foreach_norm(grads)).norm())
        if norm > limit:
            LOG.info(
                f"Gradient clipping: scaling down gradients (L2 norm {glog.number(norm)} > "
                f"{glog.number(limit)}) by scale factor {glog.number(limit / norm)}"
            )
            _foreach._foreach_mul_(grads, limit / norm)

    def _decay(self, params: list[Param], weights: list[Tensor], grads: list[Tensor]) -> None:
        decays = [self.param.weight_decay * param.decay_mult for param in params]
        if not any(decays):
            return
        pulls = (
            weights if self.param.regularization_type == "L2" else _foreach._foreach_sign(weights)
        )
        add_scaled(grads, pulls, decays)

    def _log_outputs(self) -> None:
        weights = {self.net.graph.blob_of[v]: w for v, w in self.net.loss_terms}
        index = 0
        for blob in self.net.outputs:
            for value in self.outputs[blob].flatten().tolist():
                LOG.info(glog.train_output(index, blob, value, weights.get(blob, 0.0)))
                index += 1

    def test_all(self) -> None:
        """Run every test net over its ``test_iter`` batches and log what it scores.

        Of several processes the first one does, and the others go on to where they meet again.
        """
        if self.ranks.rank:
            return
        for i, net in enumerate(self.test_nets):
            LOG.info(glog.testing(self.iter, i))
            before = [(source, source.position) for source in net.sources.values()]
            try:
                test_net(net, self.param, self.param.test_iter[i], self.test_feeds[i])
            except BaseException:
                for source, position in before:  # a resumed run makes this test as a whole
                    source.position = position
                raise

    def snapshot(self) -> str | None:
        """Write weights and state; return the path of the ``.caffemodel``, if one was written.

        Of several processes the first one does.
        """
        if self.ranks.rank:
            return None
        from scratchdet_caffe.engine.snapshot import save_snapshot

        return save_snapshot(self)

    def restore(self, path: str) -> None:
        """Continue from a ``.solverstate``."""
        from scratchdet_caffe.engine.snapshot import load_snapshot

        load_snapshot(self, path)
        self._alike = False
