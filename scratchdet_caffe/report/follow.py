"""A log that is still being written, read as it grows."""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.report.log import CaffeLog, LogReader


class LogFollower:
    """Reads what is new in the log at ``path`` each time that it is asked.

    A log that was moved aside or begun anew is read from its start.

    Attributes:
        age: Seconds since something was written, as of the last `poll`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.age = 0.0
        self._begin(0)

    def _begin(self, file: int) -> None:
        self._file, self._offset, self._rest = file, 0, b""
        self._reader = LogReader(datetime.now().year)

    def poll(self) -> bool:
        """Read what is new; return whether there was anything.

        Raises:
            UserError: The file is not there, or cannot be read.
        """
        try:
            with open(self.path, "rb") as stream:
                facts = os.fstat(stream.fileno())
                self.age = max(time.time() - facts.st_mtime, 0.0)
                if facts.st_ino != self._file or facts.st_size < self._offset:
                    self._begin(facts.st_ino)
                stream.seek(self._offset)
                new = stream.read()
        except OSError as error:
            raise UserError(f"{self.path}: cannot read this log: {error.strerror}") from error
        self._offset += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            self._reader.read_line(line.decode("utf-8", "replace"))
        return bool(lines)

    def log(self) -> CaffeLog:
        """Return all that the log has said so far."""
        return self._reader.log()
