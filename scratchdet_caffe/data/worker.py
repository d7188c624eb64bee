"""A data worker: ``python -m scratchdet_caffe.data.worker`` makes records for `Processes`.

It is a program of its own, not a fork and not multiprocessing's spawn: a fork of a process
with threads (torch has some) may hang, and a spawned child imports the user's script again.
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection

import numpy as np

from scratchdet_caffe.data.jobs import IDLE, Done, Job, picture_at, progress_of
from scratchdet_caffe.data.making import Made, Plan, RecordMaker
from scratchdet_caffe.errors import UserError

LOOK_AFTER_PARENT = 5.0  # seconds


def serve(
    asked: Connection, answers: Connection, memory: mmap.mmap, number: int, workers: int
) -> None:
    """Answer jobs until no more can come, or the process that asks is gone."""
    parent, progress = os.getppid(), progress_of(memory, workers)
    plan: Plan = asked.recv()
    maker = RecordMaker(plan)
    while True:
        while not asked.poll(LOOK_AFTER_PARENT):
            if os.getppid() != parent:
                return
        job: Job = asked.recv()
        made: list[Made] = []
        error = None
        size = int(np.prod(job.shape)) * np.dtype(np.float32).itemsize
        for item, place in enumerate(job.places):
            progress[number] = place
            out = picture_at(memory, job.offset + item * size, job.shape)
            try:
                made.append(maker.make(place, out, place in job.spoilt))
            except UserError as found:
                error = str(found)
                break
        progress[number] = IDLE
        answers.send(Done(job.number, made, error))


def main(argv: list[str]) -> None:
    """Serve on the open files that the parent has passed: two pipes and the shared memory."""
    # The parent decides what a signal to all processes means; it closes the pipes then.
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    asked, answers, file, number, workers = map(int, argv)
    memory = mmap.mmap(file, 0)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent has closed
        serve(
            Connection(asked, writable=False),
            Connection(answers, readable=False),
            memory,
            number,
            workers,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
