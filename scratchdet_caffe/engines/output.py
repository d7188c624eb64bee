"""What an engine in C++ writes on stderr: into the run's log, onto the screen, and to the run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scratchdet_caffe.engines import relay

#: The least severity that glog prints; it reads the variable when it is loaded.
GLOG_LEVEL = "GLOG_minloglevel"
#: How long the relay may take for what it does in a millisecond.
SECONDS = 10.0


class EngineOutput:
    """While the context lasts, carries file descriptor 2 through a `relay`.

    ``sys.stderr`` stays the screen: what Python itself prints does not pass the relay. Enter it
    before the engine is imported, since glog reads its level from the environment then.
    """

    def __enter__(self) -> EngineOutput:
        os.environ[GLOG_LEVEL] = "0"  # a log without its lines is none
        # Since 0.6 it puts the year in front, which no tool that reads Caffe's logs expects.
        os.environ.setdefault("GLOG_log_year_in_prefix", "0")
        sys.stderr.flush()
        self._folder = tempfile.TemporaryDirectory(prefix="scratchdet-caffe-")
        spool = Path(self._folder.name) / "engine"
        spool.touch()
        self._spool = spool.open("rb")
        self._screen = os.dup(2)
        # A session of its own: ^C on the terminal is for the run, not for what carries its log.
        self._relay = subprocess.Popen(
            [sys.executable, "-I", relay.__file__, str(spool)],
            stdin=subprocess.PIPE,
            stdout=self._screen,
            stderr=self._screen,
            start_new_session=True,
        )
        assert self._relay.stdin is not None
        os.dup2(self._relay.stdin.fileno(), 2)
        self._relay.stdin.close()
        self._stderr = sys.stderr
        sys.stderr = os.fdopen(os.dup(self._screen), "w", buffering=1, errors="replace")
        self._marks = 0
        return self

    def __exit__(self, *exception: Any) -> None:
        sys.stderr.close()
        sys.stderr = self._stderr
        os.dup2(self._screen, 2)
        os.close(self._screen)
        try:
            self._relay.wait(SECONDS)
        except subprocess.TimeoutExpired:  # another process still holds the writing end
            self._relay.kill()
            self._relay.wait()
        self._spool.close()
        self._folder.cleanup()

    def carried(
        self, log: str | os.PathLike[str], show: Callable[[str], None] | None = None
    ) -> Callable[[], list[str]]:
        """Append all lines, those of the past too, to ``log``; return what gives the new ones.

        Args:
            log: A file that others may append to as well.
            show: Shows a line from now on, e.g. above a progress bar; None leaves that to the
                relay.
        """
        self._order(f"log {os.path.abspath(log)}")
        if show is None:
            return self.lines
        self._order("quiet")

        def lines() -> list[str]:
            found = self.lines()
            for line in found:
                show(line)
            return found

        return lines

    def lines(self) -> list[str]:
        """Return the lines that the engine has written since the last call, all of them."""
        self._marks += 1
        self._order(f"mark {self._marks}")
        end = b"\0%d\n" % self._marks
        read, patience = b"", time.monotonic() + SECONDS
        while not read.endswith(end) and time.monotonic() < patience:
            if more := self._spool.read():
                read += more
            else:
                time.sleep(0.0002)
        lines = read.split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines if line and line[0] != 0]

    def _order(self, words: str) -> None:
        os.write(2, b"\0" + os.fsencode(words) + b"\n")
