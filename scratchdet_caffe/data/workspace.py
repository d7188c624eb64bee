"""The folder ``.prepare`` in which a dataset is built, so that a killed `prepare` can go on.

It holds the databases as far as they are written, what is known of pictures already decoded,
and a fingerprint of the job: another list, label map or a changed file starts anew.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scratchdet_caffe.data.check import Facts, Finding, picture_facts
from scratchdet_caffe.data.folders import move_folder
from scratchdet_caffe.data.parallel import ordered
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import write_text

NAME = ".prepare"
_ABSENT = (0, 0)


@contextmanager
def workspace(out: Path) -> Iterator[Path]:
    """Give the folder ``out/.prepare``, held by this process alone; it stays where it is.

    Raises:
        UserError: It cannot be written, or another `prepare` is at work in it.
    """
    folder = out / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(f"{out}: another prepare is writing this dataset") from error
            yield folder
    except OSError as error:
        raise UserError(f"{folder}: cannot write it: {error.strerror or error}") from error


def begin(folder: Path, job: str) -> None:
    """Make the workspace ready for ``job``, a description of all that the result depends on.

    What another job has left is removed.
    """
    file = folder / "job"
    if not file.is_file() or file.read_text(encoding="utf-8") != job:
        file.unlink(missing_ok=True)
        for path in folder.glob("*_lmdb"):
            shutil.rmtree(path)
        write_text(file, job)


def finish(folder: Path, out: Path, names: Sequence[str]) -> None:
    """Move the files and folders ``names`` from the workspace to ``out``, the last one last.

    A reader who wants that one never takes a mixture of old and new for a dataset: the old one
    goes first.
    """
    (out / names[-1]).unlink(missing_ok=True)
    for name in names:
        if (folder / name).is_dir():
            move_folder(folder / name, out / name)
        else:
            os.replace(folder / name, out / name)
    shutil.rmtree(folder)


def stamp(path: Path) -> tuple[int, int]:
    """Return size and time of change of ``path``, by which a change shows; (0, 0) if absent."""
    try:
        status = path.stat()
    except OSError:
        return _ABSENT
    return status.st_size, status.st_mtime_ns


@dataclass(frozen=True)
class _Known:
    stamp: tuple[int, int]
    facts: Facts


def facts_of(paths: Iterable[Path], folder: Path | None) -> Iterator[Facts]:
    """Yield the `Facts` of pictures, read in parallel.

    Args:
        paths: The pictures.
        folder: A workspace, where facts are noted as they come and pictures that have not
            changed since are not read again; None keeps nothing.
    """
    if folder is None:
        yield from ordered(picture_facts, paths)
        return
    file = folder / "pictures.jsonl"
    known = dict(_noted(file))

    def facts(path: Path) -> tuple[Path, _Known, bool]:
        now, before = stamp(path), known.get(str(path.absolute()))
        if before is not None and before.stamp == now and now != _ABSENT:
            return path, before, False
        return path, _Known(now, picture_facts(path)), True

    # Unbuffered, so that a full disk shows where it is met, and a kill loses no line.
    with open(file, "ab", buffering=0) as notes:
        notes.write(b"\n")  # ends a line that was cut
        for path, found, new in ordered(facts, paths):
            if new:
                notes.write(_line(path, found))
            yield found.facts


def _line(path: Path, found: _Known) -> bytes:
    facts = found.facts
    findings = [(f.kind, f.text, f.fault) for f in facts.findings]
    said = [str(path.absolute()), found.stamp, facts.size, facts.digest, findings]
    return f"{json.dumps(said)}\n".encode()


def _noted(file: Path) -> Iterator[tuple[str, _Known]]:
    if not file.is_file():
        return
    for line in file.read_bytes().split(b"\n"):
        try:
            path, (size, changed), (height, width), digest, findings = json.loads(line)
            facts = Facts((height, width), digest, tuple(Finding(*f) for f in findings))
            yield path, _Known((size, changed), facts)
        except (ValueError, TypeError):
            continue  # empty or cut
