"""``import caffe`` in a child process: this folder on PYTHONPATH leads to the embedded engine."""

import sys
from pathlib import Path

try:
    import scratchdet_caffe  # noqa: F401
except ImportError:  # not installed, but run from a checkout
    sys.path.append(str(Path(__file__).resolve().parents[4]))

from scratchdet_caffe.pycaffe.alias import install

install()
