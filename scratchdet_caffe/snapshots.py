"""Which snapshots lie under a prefix: ``<prefix>_iter_N.caffemodel`` and ``.solverstate``.

Either may end in ``.h5``: then it is HDF5.
"""

from __future__ import annotations

import glob
import re
from pathlib import Path

from scratchdet_caffe.caffeproto import read_model, read_state
from scratchdet_caffe.errors import UserError


def find_snapshots(prefix: str, suffix: str = ".solverstate") -> list[Path]:
    """Return the files ``<prefix>_iter_N<suffix>`` and their ``.h5`` twins, the largest N last."""
    folder, stem = Path(prefix).parent, Path(prefix).name
    pattern = re.compile(re.escape(stem) + r"_iter_(\d+)" + re.escape(suffix) + r"(?:\.h5)?")
    found = []
    for file in folder.glob(f"{glob.escape(stem)}_iter_*{suffix}*"):
        if match := pattern.fullmatch(file.name):
            found.append((int(match[1]), file))
    return [file for _, file in sorted(found)]


def newest_complete(prefix: str) -> tuple[Path | None, list[str]]:
    """Return the newest state under ``prefix`` that can be resumed, or None.

    Snapshots whose state or weights are missing, cut short or damaged are passed over; the
    second value says why, a sentence each.
    """
    passed_over = []
    for state in reversed(find_snapshots(prefix)):
        try:
            read_state(state)
            read_model(state.with_name(state.name.replace(".solverstate", ".caffemodel")))
        except UserError as error:
            passed_over.append(str(error))
        else:
            return state, passed_over
    return None, passed_over
