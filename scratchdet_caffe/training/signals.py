"""What signals do to a training run: snapshot, stop, or nothing.

Like Caffe's, they are looked at between iterations and between the batches of a test. Unlike
Caffe, which dies of it, SIGTERM stops a run in good order: it is how containers and batch
systems end one.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

EFFECTS = ("stop", "snapshot", "none")


class Stopped(Exception):
    """A signal asked for the end of the run.

    Attributes:
        number: The signal.
    """

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.number = number


class Signals:
    """Takes note of SIGINT, SIGHUP and SIGTERM while the context lasts.

    Args:
        sigint: What SIGINT does, one of `EFFECTS`.
        sighup: What SIGHUP does.
        sigterm: What SIGTERM does.
        patient: Whether a second signal to stop changes nothing. Otherwise it ends the process
            at once, even in the middle of a long computation.

    Attributes:
        stop: The signal that asked for the end, or None.
        snapshot: Whether a snapshot is asked for.
    """

    def __init__(
        self,
        sigint: str = "stop",
        sighup: str = "snapshot",
        sigterm: str = "stop",
        patient: bool = False,
    ) -> None:
        self.stop: signal.Signals | None = None
        self.snapshot = False
        self._effects = {signal.SIGINT: sigint, signal.SIGHUP: sighup, signal.SIGTERM: sigterm}
        self._patient = patient
        self._before: dict[signal.Signals, Any] = {}
        self._wakeup: tuple[int, int] | None = None  # our descriptor, and the one before it

    def __enter__(self) -> Signals:
        for number, effect in self._effects.items():
            if effect != "none":
                self._before[number] = signal.signal(number, self._on_signal)
        if not self._patient:
            self._watch_for_a_second()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._wakeup is not None:
            ours, before = self._wakeup
            signal.set_wakeup_fd(before)
            os.close(ours)  # the thread reads the end, and ends
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def take_snapshot(self) -> bool:
        """Whether a snapshot was asked for since the last call."""
        asked, self.snapshot = self.snapshot, False
        return asked

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._effects[signal.Signals(number)] == "snapshot":
            self.snapshot = True
        else:
            self.stop = self.stop or signal.Signals(number)

    def _watch_for_a_second(self) -> None:
        """Let a thread count: Python's own handlers wait until the main thread is free."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        self._wakeup = (writer, signal.set_wakeup_fd(writer, warn_on_full_buffer=False))
        stops = {number for number, effect in self._effects.items() if effect == "stop"}
        threading.Thread(target=_leave_at_second, args=(reader, stops), daemon=True).start()


def _leave_at_second(reader: int, stops: set[signal.Signals]) -> None:
    """End the process at the second of the signals ``stops`` whose numbers come in."""
    seen = 0
    while numbers := os.read(reader, 64):
        for number in numbers:
            seen += number in stops
            if seen > 1:
                _leave(signal.Signals(number))
    os.close(reader)


def _leave(number: signal.Signals) -> None:
    shown = "\x1b[?25h" if sys.stderr.isatty() else ""  # a progress bar hides the cursor
    os.write(2, f"{shown}\n{number.name} again: leaving at once\n".encode())
    os._exit(128 + number)
