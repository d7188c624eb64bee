"""Whole folders written aside, then moved."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scratchdet_caffe.errors import UserError


@contextmanager
def folder_aside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give an empty folder beside ``path`` to fill; on success it takes that name.

    A folder that has the name already is replaced.

    Raises:
        UserError: The folder cannot be written.
    """
    final = Path(path)
    aside = final.with_name(f".{final.name}.{os.getpid()}.part")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        yield aside
        move_folder(aside, final)
    except OSError as error:
        raise UserError(f"{final}: cannot write it: {error.strerror or error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def move_folder(source: Path, final: Path) -> None:
    """Give the folder ``source`` the name ``final``; a folder of that name is replaced."""
    _remove_remains(final)
    # A folder cannot be moved onto a full one: that steps aside first.
    old = final.with_name(f".{final.name}.{os.getpid()}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        os.replace(final, old)
    os.replace(source, final)
    shutil.rmtree(old, ignore_errors=True)


def _remove_remains(final: Path) -> None:
    """Remove what killed processes left beside ``final``."""
    for path in final.parent.glob(f".{final.name}.*"):
        process, _, end = path.name.removeprefix(f".{final.name}.").partition(".")
        if end in ("part", "old") and process.isdecimal() and not _runs(int(process)):
            shutil.rmtree(path, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
