"""A run: the solver's own loop, the observers that look on, and how it ends."""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
from collections.abc import Callable, Iterable
from typing import Any

from scratchdet_caffe import glog
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.report.log import LogReader, TestScores
from scratchdet_caffe.snapshots import numbered_snapshots
from scratchdet_caffe.torchrun import is_first
from scratchdet_caffe.training.company import Alone, Company
from scratchdet_caffe.training.logs import Ear, logging_to
from scratchdet_caffe.training.memory import memory_errors_told
from scratchdet_caffe.training.observer import Observer
from scratchdet_caffe.training.signals import Signals, Stopped

EXIT_DIVERGED = 3
LOG = logging.getLogger("caffe")


class Diverged(Exception):
    """The run computes no numbers any more; the text says what was lost and what to do."""


class Run:
    """One training run of a solver of either engine.

    Args:
        solver: A pycaffe solver whose starting point is loaded.
        param: What it was made from.
        observers: Who is told of the run; see the room's docstring.
        signals: What signals do.
        company: The processes that train together; what a signal asks of one, all do.
        saves: Whether a stop by this signal writes a snapshot; the default: by any.
        heard: Returns the lines of the log that came since its last call by another way than
            Python's logging: those of an engine in C++.

    Attributes:
        first_iteration: Updates done before it.
        loss: Of the last iteration, the sum of the loss blobs; NaN before the first.
        last_test: What the last test scored, or None.
        status: The exit status once the run is over: 0, 3 if it diverged, 128 + n after
            signal n. None until then.
    """

    def __init__(
        self,
        solver: Any,
        param: pb.SolverParameter,
        observers: Iterable[Observer] = (),
        signals: Signals | None = None,
        company: Company | None = None,
        saves: Callable[[signal.Signals], bool] = lambda number: True,
        heard: Callable[[], Iterable[str]] | None = None,
    ) -> None:
        self.solver, self.param = solver, param
        self.observers = list(observers)
        self.signals = signals or Signals()
        self.company = company or Alone()
        self.loss = math.nan
        self.last_test: TestScores | None = None
        self.status: int | None = None
        self._saves = saves
        self._heard = heard or (lambda: ())
        self.first_iteration = int(solver.iter)
        self._parent = os.getppid()
        self._log = LogReader()
        self._losses = [blob for blob, w in solver.net.blob_loss_weights.items() if w]

    @property
    def iteration(self) -> int:
        """Updates done."""
        return int(self.solver.iter)

    @property
    def max_iter(self) -> int:
        """Updates to do."""
        return self.param.max_iter

    def hear(self, line: str) -> None:
        """Take a line of the log; tests are known by what it says of them."""
        self._log.read_line(line)

    def go(self) -> int:
        """Train to the end, a signal or a loss that is lost; return the exit status."""
        self.solver.add_callback(self._before_iteration, self._gradients_ready)
        for net in self.solver.test_nets:
            # SSD-Caffe's nets offer no such thing: there, a signal waits for the end of the test.
            if hasattr(net, "before_each_pass"):
                net.before_each_pass(self._before_test_batch)
        with self.signals, logging_to(Ear(self.hear)):
            try:
                self._tell("at_start")
                self.status = self._solve()
            finally:
                self._tell_of_tests()
                self._tell("at_end")
        return self.status

    def _solve(self) -> int:
        if self.iteration >= self.max_iter:
            say(f"at iteration {self.iteration} of {self.max_iter} already: nothing to train")
        LOG.info(glog.STARTING)
        try:
            with memory_errors_told("in training"):
                self.solver.solve()
            self._wait_for_tests()
        except Stopped as stop:
            return self._stopped(stop.number)
        except UserError as error:
            raise UserError(f"{error} (at iteration {self.iteration}; {self._saved()})") from error
        except Diverged as lost:
            say(str(lost))
            return EXIT_DIVERGED
        return 0

    def _stopped(self, number: signal.Signals) -> int:
        saves = self._saves(number) and not self._is_written()
        say(f"{number.name}: " + ("writing a snapshot and stopping" if saves else "stopping"))
        if saves:
            self.solver.snapshot()
        LOG.info(glog.STOPPED_EARLY)
        self.company.most(0)  # nobody leaves before the snapshot is written
        return 128 + number

    def _saved(self) -> str:
        states = numbered_snapshots(self.param.snapshot_prefix)
        return f"the newest snapshot is {states[-1][1]}" if states else "there is no snapshot yet"

    def _is_written(self) -> bool:
        """Whether the solver has written a snapshot of this iteration by itself."""
        period, done = self.param.snapshot, self.iteration
        if done == self.first_iteration:
            return False
        at_the_end = done >= self.max_iter and self.param.snapshot_after_train
        return at_the_end or (period > 0 and done % period == 0)

    def _meet(self, testing: bool = False) -> bool:
        """Do what signals ask of any process, in all at the same moment.

        Args:
            testing: Whether this process is in the middle of a test.

        Returns:
            Whether any process is.

        Raises:
            Stopped: One of the signals was to stop.
        """
        signals = self.signals
        if self.company.world > 1 and os.getppid() != self._parent:
            signals.stop = signals.stop or signal.SIGTERM  # torchrun itself was killed
        # Only what all have heard counts: a signal may come right after this.
        stop, snapshot, any_testing = self.company.most(
            signals.stop or 0, signals.take_snapshot(), testing
        )
        if snapshot and not testing:
            self.solver.snapshot()
        elif snapshot:
            signals.snapshot = True  # between iterations, as in Caffe
        if stop:
            raise Stopped(signal.Signals(int(stop)))
        return bool(any_testing)

    def _before_test_batch(self) -> None:
        self._meet(testing=True)

    def _wait_for_tests(self) -> None:
        while self._meet():
            pass

    def _before_iteration(self) -> None:
        self._wait_for_tests()
        self._tell_of_tests()
        self._tell("before_iteration")

    def _gradients_ready(self) -> None:
        blobs = self.solver.net.blobs
        self.loss = sum(float(blobs[blob].data.sum()) for blob in self._losses)
        self._tell("gradients_ready")

    def _tell_of_tests(self) -> None:
        for line in self._heard():
            self.hear(line)
        for scores in self._log.take_tests():
            self.last_test = scores
            self._tell("after_test")

    def _tell(self, moment: str) -> None:
        for observer in self.observers:
            getattr(observer, moment)(self)


def say(sentence: str) -> None:
    """Tell the user something that is no line of Caffe's log; of several processes one speaks."""
    if is_first():
        print(f"train: {sentence}", file=sys.stderr)
