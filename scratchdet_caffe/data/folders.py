"""Whole folders written aside, then moved; and progress bars for the wait."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from scratchdet_caffe.errors import UserError

T = TypeVar("T")


@contextmanager
def folder_aside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give an empty folder beside ``path`` to fill; on success it takes that name.

    A folder that has the name already is replaced.

    Raises:
        UserError: The folder cannot be written.
    """
    final = Path(path)
    aside, old = (final.with_name(f".{final.name}.{os.getpid()}.{end}") for end in ("part", "old"))
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        yield aside
        # A folder cannot be moved onto a full one: that steps aside first.
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            os.replace(final, old)
        os.replace(aside, final)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise UserError(f"{final}: cannot write it: {error.strerror or error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def tracked(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Yield ``items``, with a progress bar on standard error if that is a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, description=what, total=total, console=Console(stderr=True))
