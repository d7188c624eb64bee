"""``python -m scratchdet_caffe.study.child MODULE ARGS``: a command that ends with its parent.

A study that is killed must not leave trainings behind that nobody waits for. The kernel then
sends them SIGTERM, at which ``train`` writes a snapshot and stops.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Let SIGTERM come when the process ``parent`` dies; only Linux can."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died in the meantime
        raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    end_with(int(sys.argv[1]))
    module = sys.argv[2]
    del sys.argv[:2]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
