"""What a run tells: the moments of an `Observer`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scratchdet_caffe.training.run import Run


class Observer:
    """Told of the moments of a run; see the room's docstring for what holds at each."""

    def at_start(self, run: Run) -> None:
        """Called once, before anything is computed."""

    def before_iteration(self, run: Run) -> None:
        """Called at the start of each iteration."""

    def gradients_ready(self, run: Run) -> None:
        """Called before each update."""

    def after_test(self, run: Run) -> None:
        """Called after each pass of a test net."""

    def at_end(self, run: Run) -> None:
        """Called once, at the end, whatever ends the run."""
