"""What later versions of pycaffe say of the process: its log, a clock, who trains together."""

from __future__ import annotations

import logging
import time

from scratchdet_caffe.glog import GlogFormatter
from scratchdet_caffe.pycaffe.logs import LOG


class _Ranks:
    count = 1
    rank = 0


class Timer:
    """A stopwatch.

    Attributes:
        ms: Milliseconds between the last `start` and `stop`.
    """

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self.ms = 0.0

    def start(self) -> None:
        """Begin to measure."""
        self._began = time.perf_counter()

    def stop(self) -> None:
        """Measure until now."""
        self.ms = 1e3 * (time.perf_counter() - self._began)


def init_log(level: int = 0, stderr: bool = True) -> None:
    """Write the log to stderr from severity ``level`` (0 info, 1 warning, 2 error) on."""
    LOG.setLevel([logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL][min(level, 3)])
    if stderr and not LOG.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(GlogFormatter())
        LOG.addHandler(handler)


def log(text: str) -> None:
    """Write a line into the log."""
    LOG.info(text)


def has_nccl() -> bool:
    """Tell that there is no ``caffe.NCCL``: several GPUs train as processes of torchrun."""
    return False


def solver_count() -> int:
    """Return how many solvers train together, as `set_solver_count` said."""
    return _Ranks.count


def set_solver_count(count: int) -> None:
    """Say how many solvers train together."""
    _Ranks.count = count


def solver_rank() -> int:
    """Return which of them this one is, as `set_solver_rank` said."""
    return _Ranks.rank


def set_solver_rank(rank: int) -> None:
    """Say which of the solvers this one is."""
    _Ranks.rank = rank


def set_multiprocess(value: bool) -> None:
    """Accept what programs say who start several solvers; each is a process of its own anyway."""
