"""Records made by worker processes, into memory that they share with this one.

The memory has no name (a memfd, or an unlinked file): it goes when its processes go, whatever
ends them. Jobs are dealt out in turn, so the answers' order is known; a worker that dies is
missed at its connection, and the shared memory tells which record it was at.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import wait

import numpy as np

from scratchdet_caffe.data.jobs import IDLE, Done, Job, progress_of
from scratchdet_caffe.data.making import Made, Plan, RecordMaker
from scratchdet_caffe.data.skipping import SKIP
from scratchdet_caffe.errors import UserError

# Pictures come and go by the megabyte. Given back to the system each time (glibc's way), their
# memory costs a page fault per 4 KiB, as much as decoding them.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 26), "MALLOC_TRIM_THRESHOLD_": str(1 << 28)}
JOBS_PER_WORKER = 2  # of a batch: small enough that all workers end at about the same time
MOST_DEATHS = 10
NAMED_KEYS = 8
_PAGE = 4096


class _Worker:
    def __init__(self, number: int, count: int, memory: int, plan: Plan) -> None:
        # Two one-way pipes: of a socket, a death could take the last answers with it.
        jobs, self.asking = Pipe(duplex=False)
        self.answers, answering = Pipe(duplex=False)
        theirs = (jobs.fileno(), answering.fileno(), memory)
        # Whatever makes the package importable here makes it so there.
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        environment = {
            **os.environ,
            "PYTHONPATH": paths,
            "OPENBLAS_NUM_THREADS": "1",
            **KEEP_MEMORY,
        }
        command = [sys.executable, "-m", "scratchdet_caffe.data.worker"]
        arguments = [*theirs, number, count]
        self.process = subprocess.Popen(
            [*command, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            pass_fds=theirs,
            env=environment,
        )
        jobs.close()
        answering.close()
        self.number = number
        self.jobs: dict[int, Job] = {}
        self.dead = ""
        self.send(plan)

    def send(self, what: Plan | Job) -> None:
        if isinstance(what, Job):
            self.jobs[what.number] = what
        with suppress(OSError):  # it is dead: so says its connection to who waits for an answer
            self.asking.send(what)

    def close(self) -> None:
        self.asking.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.answers.close()


class Processes:
    """Worker processes and the batches that they fill.

    Args:
        plan: How records are made.
        count: Of workers.
        shape: Of a batch (N, C, H, W).
        batches: How many batches the shared memory holds.

    Attributes:
        batches: The memory of each batch, flat.
    """

    def __init__(self, plan: Plan, count: int, shape: tuple[int, ...], batches: int) -> None:
        self._plan, self._count, self._shape = plan, count, shape
        numbers = int(np.prod(shape))
        self._batch_bytes = numbers * np.dtype(np.float32).itemsize
        self._front = -(-8 * count // _PAGE) * _PAGE
        size = self._front + batches * self._batch_bytes
        self._file = _unnamed_file(size)
        self._memory = mmap.mmap(self._file, size)
        progress_of(self._memory, count)[:] = IDLE
        self.batches = [
            np.frombuffer(self._memory, np.float32, numbers, self._front + i * self._batch_bytes)
            for i in range(batches)
        ]
        self._workers: list[_Worker] = []
        self._end = weakref.finalize(self, _end, self._workers, self._file)
        self._workers += [self._worker(number) for number in range(count)]
        self._done: dict[int, Done] = {}
        self._started = self._deaths = 0

    def start(self, batch: int, places: range) -> list[int]:
        """Have the records at ``places`` made into batch number ``batch``; return job numbers."""
        # Jobs are short, ranges and all: they must fit into the pipe while the worker is at work,
        # or both ends might wait for each other.
        length = max(-(-len(places) // (self._count * JOBS_PER_WORKER)), 1)
        jobs = []
        for first in range(0, len(places), length):
            part = places[first : first + length]
            item = self._batch_bytes // len(places)
            offset = self._front + batch * self._batch_bytes + first * item
            _, channels, height, width = self._shape
            job = Job(self._started, offset, (channels, height, width), part, frozenset())
            worker = self._workers[self._started % self._count]
            if worker.dead:
                self._done[job.number] = Done(job.number, [], worker.dead)
            else:
                worker.send(job)
            jobs.append(self._started)
            self._started += 1
        return jobs

    def wait(self, jobs: Sequence[int]) -> list[Made]:
        """Return what was made of the records of ``jobs``, in order.

        Raises:
            UserError: A record is corrupt, or a worker died.
        """
        while any(job not in self._done for job in jobs):
            self._receive()
        for job in jobs:
            if error := self._done[job].error:
                raise UserError(error)
        return [made for job in jobs for made in self._done.pop(job).made]

    def drop(self, jobs: Sequence[int]) -> None:
        """Wait until ``jobs`` are out of the way; their memory is free then."""
        while any(job in worker.jobs for job in jobs for worker in self._workers):
            self._receive()
        for job in jobs:
            self._done.pop(job, None)

    def close(self) -> None:
        """End the workers."""
        self._end()

    def _worker(self, number: int) -> _Worker:
        return _Worker(number, self._count, self._file, self._plan)

    def _receive(self) -> None:
        """Take in the next answers."""
        alive = [worker for worker in self._workers if not worker.dead]
        ready = wait([worker.answers for worker in alive])
        for worker in [worker for worker in alive if worker.answers in ready]:
            try:
                done: Done = worker.answers.recv()
            except (EOFError, OSError):
                self._replace(worker)
                continue
            del worker.jobs[done.number]
            self._done[done.number] = done

    def _replace(self, worker: _Worker) -> None:
        """Put a new worker in the place of one that died, or let its jobs fail."""
        worker.close()
        code = worker.process.returncode
        ended = f"killed by signal {-code}" if code < 0 else f"exit status {code}"
        at = int(progress_of(self._memory, self._count)[worker.number])
        self._deaths += 1
        if self._plan.on_bad != SKIP or self._deaths > MOST_DEATHS or at == IDLE:
            worker.dead = f"a data worker died ({ended}) {self._held(worker, at)}"
            self._done |= {number: Done(number, [], worker.dead) for number in worker.jobs}
            worker.jobs.clear()
            return
        progress_of(self._memory, self._count)[worker.number] = IDLE
        fresh = self._workers[worker.number] = self._worker(worker.number)
        for job in worker.jobs.values():
            spoilt = job.spoilt | ({at} & set(job.places))
            fresh.send(job._replace(spoilt=frozenset(spoilt)))

    def _held(self, worker: _Worker, at: int) -> str:
        def key(place: int) -> str:
            return self._plan.source.key(place % len(self._plan.source))

        places = [place for job in worker.jobs.values() for place in job.places]
        rest = [key(place) for place in places if place != at]
        more = f" and {len(rest) - NAMED_KEYS} more" if len(rest) > NAMED_KEYS else ""
        waiting = f"; waiting were {', '.join(rest[:NAMED_KEYS])}{more}" if rest else ""
        if at == IDLE:
            return f"before its next record{waiting}"
        return f"at {RecordMaker(self._plan).where(at)}{waiting}"


def _end(workers: list[_Worker], file: int) -> None:
    for worker in workers:
        worker.asking.close()
    for worker in workers:
        worker.close()
    os.close(file)


def _unnamed_file(size: int) -> int:
    """Return a new file of ``size`` bytes that no folder holds."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("batches")
    else:
        with tempfile.TemporaryFile() as temporary:
            file = os.dup(temporary.fileno())
    os.truncate(file, size)
    return file
