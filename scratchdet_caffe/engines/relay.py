"""The process that carries what an engine in C++ writes on stderr to a screen and a log file.

Started by `output.EngineOutput` with the path of a spool file; stdin is what the engine writes,
stdout the screen. It is a process of its own for two reasons: it goes on reading while the engine
computes (the engine never lets go of Python's lock, and would wait for ever for a thread to empty
a full pipe), and it lives on when the engine ends the process, as a failed CHECK does: the line
that says why must not be lost.

Lines that begin with a NUL are for the relay itself: ``log PATH`` says where the log is, from now
on and for all lines before; ``quiet`` that another shows the lines; ``mark N`` comes back in the
spool, so that who waits for it has seen everything before it.
"""

from __future__ import annotations

import re
import signal
import sys
from typing import IO

_FATAL = re.compile(rb"F\d{4,8} \d\d:\d\d:\d\d\.\d+ +\d+ [^\]]*\] (.*)")


class Relay:
    """Takes lines one by one; see the module's docstring."""

    def __init__(self, screen: IO[bytes], spool: IO[bytes]) -> None:
        self._screen, self._spool = screen, spool
        self._log: IO[bytes] | None = None
        self._waiting: list[bytes] = []
        self._quiet = False
        self._fatal: bytes | None = None

    def take(self, line: bytes) -> None:
        """Carry one line, its end included."""
        if line.startswith(b"\0"):
            self._obey(line[1:].rstrip(b"\n"))
            return
        if found := _FATAL.match(line):
            self._fatal = found[1].strip()
        self._write(self._spool, line)
        if not self._quiet:
            self._write(self._screen, line)
        if self._log is None:
            self._waiting.append(line)
        else:
            self._write(self._log, line)

    def end(self) -> None:
        """The engine is gone; say why, if it ended the process itself."""
        if self._fatal is not None:
            reason = self._fatal.decode("utf-8", "replace")
            sentence = f"\nthe engine ended the process: {reason}\n"
            self._write(self._screen, sentence.encode())

    def _obey(self, order: bytes) -> None:
        word, _, path = order.partition(b" ")
        if word == b"quiet":
            self._quiet = True
        elif word == b"mark":
            self._write(self._spool, b"\0" + path + b"\n")
        elif word == b"log":
            self._log = open(path, "ab")  # noqa: SIM115 - as long as the process
            for line in self._waiting:
                self._write(self._log, line)
            self._waiting.clear()

    def _write(self, stream: IO[bytes], line: bytes) -> None:
        """Write at once; what cannot be written (disk full, no reader) must not stop the rest."""
        try:
            stream.write(line)
            stream.flush()
        except OSError:
            pass


def main(spool: str) -> None:
    """Carry lines from stdin until it ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with open(spool, "wb") as file:
        relay = Relay(sys.stdout.buffer, file)
        for line in sys.stdin.buffer:
            relay.take(line)
        relay.end()


if __name__ == "__main__":
    main(sys.argv[1])
