"""name_size files: the name, height and width of each test picture, in the order of the set."""

from __future__ import annotations

import os
import re

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_text

_LINE = re.compile(r"\s*(\S.*?)\s+(\d+)\s+(\d+)\s*")


def read_name_size(path: str | os.PathLike[str]) -> list[tuple[str, int, int]]:
    """Return ``(name, height, width)`` of each line ``name height width``, sizes in pixels.

    Raises:
        UserError: The file cannot be read, is empty, or a line has another form.
    """
    rows = []
    for number, line in enumerate(read_text(path, "name_size file").splitlines(), start=1):
        if not line.strip():
            continue
        if not (found := _LINE.fullmatch(line)):
            raise UserError(f"{path}:{number}: '{line}' is not 'name height width'")
        name, height, width = found[1], int(found[2]), int(found[3])
        if height <= 0 or width <= 0:
            raise UserError(f"{path}:{number}: height and width must be positive")
        rows.append((name, height, width))
    if not rows:
        raise UserError(f"{path}: no lines in this name_size file")
    return rows
