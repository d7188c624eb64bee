"""Caffe's log on stderr, as programs that use the real module see it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from scratchdet_caffe.glog import GlogFormatter

LOG = logging.getLogger("caffe")

_VARIABLE = "GLOG_minloglevel"
_LEVELS = {"0": logging.INFO, "1": logging.WARNING, "2": logging.ERROR, "3": logging.CRITICAL}


@contextmanager
def log_to_stderr() -> Iterator[None]:
    """Write the log to stderr in glog's form; GLOG_minloglevel (0-3) says from which severity."""
    handler = logging.StreamHandler()
    handler.setFormatter(GlogFormatter())
    LOG.addHandler(handler)
    LOG.setLevel(_LEVELS.get(os.environ.get(_VARIABLE, "0"), logging.INFO))
    try:
        yield
    finally:
        LOG.removeHandler(handler)
