"""Work on many files at once, results in order; and progress bars for the wait."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from scratchdet_caffe.cli import progress

T = TypeVar("T")
R = TypeVar("R")
AHEAD_PER_THREAD = 16


def ordered(work: Callable[[T], R], items: Iterable[T], threads: int = 0) -> Iterator[R]:
    """Yield ``work(item)`` of each item, in order, made by threads some items ahead.

    Unlike `ThreadPoolExecutor.map` only a few results wait at a time: pictures are large.
    ``threads`` defaults to the number of processors.
    """
    threads = threads or os.cpu_count() or 1
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads, "prepare") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= threads * AHEAD_PER_THREAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def tracked(items: Iterable[T], total: int, what: str, done: int = 0) -> Iterator[T]:
    """Yield ``items``, with a progress bar on standard error if that is a terminal.

    ``done`` of ``total`` were dealt with earlier.
    """
    with progress(what) as step:
        for number, item in enumerate(items, done):
            if step:
                step(number / total)
            yield item
