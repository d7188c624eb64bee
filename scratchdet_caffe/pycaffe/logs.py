"""Caffe's log on stderr, as programs that use the real module see it."""

from __future__ import annotations

import getpass
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.glog import GlogFormatter

LOG = logging.getLogger("caffe")

_VARIABLE, _FOLDER = "GLOG_minloglevel", "GLOG_log_dir"
_LEVELS = {"0": logging.INFO, "1": logging.WARNING, "2": logging.ERROR, "3": logging.CRITICAL}


@contextmanager
def log_to_stderr(folder: str = "", level: str = "") -> Iterator[None]:
    """Write the log to stderr in glog's form, and to a file of ``folder`` if there is one.

    Args:
        folder: Where the file goes, under glog's name and as ``caffe.INFO``; by default what
            GLOG_log_dir says.
        level: From which severity on, 0 to 3; by default what GLOG_minloglevel says.

    Raises:
        UserError: The file cannot be written, or there is no such level.
    """
    level = level or os.environ.get(_VARIABLE, "")
    if level and level not in _LEVELS:
        raise UserError(f"minloglevel {level}: give a number from 0 (all) to 3 (fatal only)")
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if folder := folder or os.environ.get(_FOLDER, ""):
        handlers.append(_file_in(Path(folder)))
    for handler in handlers:
        handler.setFormatter(GlogFormatter())
        handler.setLevel(_LEVELS.get(level, logging.INFO))  # a run itself hears everything
        LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    try:
        yield
    finally:
        for handler in handlers:
            LOG.removeHandler(handler)
            handler.close()


def _file_in(folder: Path) -> logging.Handler:
    """Return a handler that writes a new file in ``folder``; ``caffe.INFO`` leads to it."""
    began = time.strftime("%Y%m%d-%H%M%S")
    host = socket.gethostname().split(".")[0]
    name = f"caffe.{host}.{getpass.getuser()}.log.INFO.{began}.{os.getpid()}"
    try:
        handler = logging.FileHandler(folder / name, "w")
        link = folder / "caffe.INFO"
        link.unlink(missing_ok=True)
        link.symlink_to(name)
    except OSError as error:
        raise UserError(f"log_dir {folder}: {error.strerror}") from error
    return handler
