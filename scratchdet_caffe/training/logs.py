"""Where the lines of Caffe's log go."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scratchdet_caffe import glog
from scratchdet_caffe.errors import UserError

LOG = logging.getLogger("caffe")


def open_log(file: Path, append: bool) -> logging.FileHandler:
    """Return a handler that writes Caffe's log to ``file``.

    Raises:
        UserError: The file cannot be written.
    """
    try:
        if not append:
            file.write_bytes(b"")
        # Appending in any case: with an engine in C++, another process writes to it as well.
        return logging.FileHandler(file, "a", "utf-8")
    except OSError as error:
        raise UserError(f"{file}: cannot write the log: {error.strerror}") from error


class Ear(logging.Handler):
    """Hands each line of the log on."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        super().__init__()
        self._hear = hear

    def emit(self, record: logging.LogRecord) -> None:
        """Hand one line on."""
        self._hear(self.format(record))


@contextmanager
def logging_to(*handlers: logging.Handler) -> Iterator[None]:
    """Send Caffe's log lines to ``handlers`` for the duration."""
    before = LOG.level
    LOG.setLevel(logging.INFO)
    for handler in handlers:
        handler.setFormatter(glog.GlogFormatter())
        LOG.addHandler(handler)
    try:
        yield
    finally:
        LOG.setLevel(before)
        for handler in handlers:
            LOG.removeHandler(handler)
            handler.close()
