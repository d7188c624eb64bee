"""Processes of the project's own commands, several at a time, that stop when asked to."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

STOPPED_BY = {128 + number for number in (signal.SIGINT, signal.SIGTERM)}


class Stopped(Exception):
    """The study was asked to stop."""


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        status: Its exit status; negative after a signal that killed it.
        wall_seconds: From start to end.
        cpu_seconds: Of the processor, user and system, all cores together.
    """

    status: int
    wall_seconds: float
    cpu_seconds: float


def command_line(module: str, arguments: Sequence[str]) -> str:
    """Return what one would type to run the command ``module``."""
    return " ".join(["python", "-m", f"scratchdet_caffe.{module}", *map(shlex.quote, arguments)])


class Processes:
    """Runs commands, each with ``threads`` threads, until `stop` is called.

    Args:
        threads: Of each process.
    """

    def __init__(self, threads: int = 1) -> None:
        self._environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            # Idle threads that spin take the cores of the other processes.
            "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
        }
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stop: signal.Signals | None = None

    @property
    def stopped(self) -> signal.Signals | None:
        """The signal that asked to stop, if one did."""
        return self._stop

    def stop(self, number: signal.Signals) -> None:
        """Let no process start any more, and those that run end in good order."""
        with self._lock:
            self._stop = self._stop or number
            for process in self._running:
                process.send_signal(signal.SIGTERM)

    def run(self, module: str, arguments: Sequence[str], console: Path, inherited: int) -> Ended:
        """Run the command ``module`` to its end.

        Args:
            module: E.g. ``train``.
            arguments: Of the command.
            console: File to which is added what it prints.
            inherited: A descriptor that stays open in it.

        Raises:
            Stopped: The study was asked to stop.
        """
        words = [
            sys.executable, "-m", "scratchdet_caffe.study.child", str(os.getpid()),
            f"scratchdet_caffe.{module}", *arguments,
        ]  # fmt: skip
        began = time.monotonic()
        with console.open("ab") as stream:
            with self._lock:
                if self._stop:
                    raise Stopped
                process = subprocess.Popen(
                    words, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
                    env=self._environment, pass_fds=(inherited,),
                    start_new_session=True,  # ^C reaches this process alone, which passes it on
                )  # fmt: skip
                self._running.add(process)
            _, status, usage = os.wait4(process.pid, 0)
            with self._lock:
                process.returncode = os.waitstatus_to_exitcode(status)
                self._running.discard(process)
        ended = Ended(process.returncode, time.monotonic() - began, usage.ru_utime + usage.ru_stime)
        if self._stop and ended.status:
            raise Stopped
        return ended
