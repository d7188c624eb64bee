"""Files under their final name are complete: written aside, synced, then moved."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from scratchdet_caffe.errors import UserError


@contextmanager
def written_aside(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary neighbour of ``path`` for writing and move it there on success.

    Args:
        path: The final name; missing parent folders are made.
        mode: ``"wb"`` for bytes, ``"w"`` for UTF-8 text with ``\\n`` line ends.

    Raises:
        UserError: The folder or the file cannot be written (read-only, disk full, ...).
    """
    final = Path(path)
    aside = final.with_name(f".{final.name}.{os.getpid()}.part")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with open(aside, mode, **text) as stream:  # type: ignore[call-overload]
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(aside, final)
        sync_folder(final.parent)
    except OSError as error:
        raise UserError(f"{final}: cannot write it: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Let the names in ``folder`` survive a power failure, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def staging_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Make a hidden folder beside ``path`` for files that belong together; it goes in the end.

    Write them there under their final names, then `move_into` their folder.

    Raises:
        UserError: The folder cannot be made, or a file in it cannot be written.
    """
    final = Path(path)
    stage = final.with_name(f".{final.name}.{os.getpid()}.part")
    try:
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir(parents=True)
        yield stage
    except OSError as error:
        raise UserError(f"{final}: cannot write it: {error.strerror or error}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def move_into(folder: Path, *files: Path) -> None:
    """Move complete ``files`` of the same file system into ``folder``, one after the other."""
    for file in files:
        os.replace(file, folder / file.name)
    sync_folder(folder)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, aside first."""
    with written_aside(path, "w") as stream:
        stream.write(text)


def remove(path: str | os.PathLike[str]) -> None:
    """Remove the file ``path`` if there is one.

    Raises:
        UserError: It cannot be removed.
    """
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot remove it: {error.strerror or error}") from error


def read_bytes(path: str | os.PathLike[str], what: str = "file") -> bytes:
    """Return the bytes of ``path``; ``what`` names its role in the error sentence."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot read this {what}: {error.strerror or error}") from error


def read_text(path: str | os.PathLike[str], what: str = "file") -> str:
    """Return the UTF-8 text of ``path``, without the mark that some editors put before it.

    ``what`` names its role in the error sentence.
    """
    try:
        return read_bytes(path, what).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not UTF-8 text (byte {error.start}), so this is no {what}"
        ) from error
