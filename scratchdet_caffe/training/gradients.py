"""The trace of gradients: loss and size of the gradient at every iteration, as a CSV file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import IO, Any

import numpy as np

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_text, write_text
from scratchdet_caffe.training.observer import Observer
from scratchdet_caffe.training.run import Run

TRACE_FILE = "gradients.csv"
HEAD = "iteration,loss,gradient_norm"


class GradientTrace(Observer):
    """Writes ``gradients.csv`` beside the snapshots: a line for every iteration.

    The loss is this iteration's own, not smoothed. The norm is the L2 norm of the loss's
    gradient over all parameters of the net: mean over ``iter_size`` passes, before clipping,
    without weight decay. A resumed run goes on in the file where it goes on itself: lines of
    iterations that are computed again are dropped.
    """

    def __init__(self, prefix: str) -> None:
        self.path = Path(prefix).parent / TRACE_FILE
        self._stream: IO[str] | None = None

    def at_start(self, run: Run) -> None:
        """Open the file, without the lines from the run's iteration on.

        Raises:
            UserError: It cannot be read or written.
        """
        kept = [HEAD]
        if run.iteration and self.path.exists():
            lines = read_text(self.path, "trace of gradients").splitlines()
            kept += [line for line in lines[1:] if _iteration(line) < run.iteration]
        write_text(self.path, "".join(f"{line}\n" for line in kept))
        try:
            # A line is in the file once it is written: who kills the run loses none.
            self._stream = self.path.open("a", buffering=1, encoding="utf-8")
        except OSError as error:
            raise UserError(f"{self.path}: cannot write it: {error.strerror}") from error

    def gradients_ready(self, run: Run) -> None:
        """Write the line of this iteration."""
        assert self._stream is not None
        norm = gradient_norm(run.solver) / run.param.iter_size
        self._stream.write(f"{run.iteration},{run.loss:.7g},{norm:.7g}\n")

    def at_end(self, run: Run) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()


def gradient_norm(solver: Any) -> float:
    """Return the L2 norm of the gradient over all parameters, as the backward passes left it."""
    if hasattr(solver, "gradient_norm"):  # the embedded engine's, which copies nothing
        return float(solver.gradient_norm())
    squares = 0.0
    for blobs in solver.net.params.values():
        for blob in blobs:
            flat = np.asarray(blob.diff).ravel()
            squares += float(np.dot(flat, flat))
    return math.sqrt(squares)


def _iteration(line: str) -> float:
    """The iteration of a line; infinite for one that was cut short."""
    cells = line.split(",")
    complete = len(cells) == HEAD.count(",") + 1 and cells[0].isdigit()
    return int(cells[0]) if complete else math.inf
