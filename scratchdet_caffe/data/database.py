"""LMDB of AnnotatedDatum, laid out as SSD-Caffe's convert_annoset writes it.

``Database(path)`` reads: ``len(db)``, ``db.key(i)``, ``db.record(i)``. ``write_database(path,
records)`` writes. Real Caffe reads what this writes, and the other way round.
"""

from __future__ import annotations

import os
import shutil
import threading
import weakref
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import lmdb

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_binary
from scratchdet_caffe.data.folders import folder_aside
from scratchdet_caffe.errors import UserError

MAP_SIZE = 1 << 40  # address space, not disk: what Caffe itself reserves
RECORDS_PER_COMMIT = 1000
LITTLE = 1 << 20  # bytes: with fewer left a disk is full


class _Environment:
    """An LMDB opened read-only. LMDB forbids opening one file twice in a process, so the
    databases of a process share theirs."""

    def __init__(self, folder: Path, inode: _Inode) -> None:
        self.lmdb = lmdb.open(
            str(folder), readonly=True, lock=False, create=False, max_readers=1, readahead=True
        )
        _handles[inode] = self.lmdb
        weakref.finalize(self, _close, inode, self.lmdb)
        with self.lmdb.begin() as transaction:
            self.keys = [bytes(key) for key in transaction.cursor().iternext(values=False)]

    @classmethod
    def shared(cls, folder: Path) -> _Environment:
        status = (folder / "data.mdb").stat()
        inode = (status.st_dev, status.st_ino)
        with _lock:
            environment = _environments.get(inode)
            if environment is None:
                # The last one's finalizer may have yet to run, in the thread that let go of it.
                if (abandoned := _handles.pop(inode, None)) is not None:
                    abandoned.close()
                environment = _environments[inode] = cls(folder, inode)
            return environment


_Inode = tuple[int, int]  # device and number
_environments: weakref.WeakValueDictionary[_Inode, _Environment] = weakref.WeakValueDictionary()
_handles: dict[_Inode, lmdb.Environment] = {}  # what is open, whoever still holds it
_lock = threading.RLock()  # the garbage collector may run a finalizer inside of it


def _close(inode: _Inode, handle: lmdb.Environment) -> None:
    with _lock:
        handle.close()
        if _handles.get(inode) is handle:
            del _handles[inode]


def _after_fork() -> None:
    # LMDB forbids a child to use its parent's environments: close them, and open anew when asked.
    global _lock
    _lock = threading.RLock()
    for handle in list(_handles.values()):
        handle.close()
    _handles.clear()
    _environments.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Database:
    """A read-only LMDB of AnnotatedDatum, in the order of its keys.

    Threads may share one; after a fork the child opens the file anew.

    Args:
        path: The folder that holds ``data.mdb``.

    Raises:
        UserError: The folder is missing, is no LMDB, or holds no record.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self._environment, self._pid = self._opened(), os.getpid()
        if not self._environment.keys:
            raise UserError(f"{self.path}: this LMDB holds no record")

    def __reduce__(self) -> tuple[type[Database], tuple[Path]]:
        return Database, (self.path,)  # another process opens the file anew

    def _opened(self) -> _Environment:
        if not (self.path / "data.mdb").is_file():
            raise UserError(
                f"{self.path}: no LMDB here: there is no data.mdb in it "
                "(`python -m scratchdet_caffe.prepare` makes one), nor is it a VOC or COCO folder"
            )
        try:
            return _Environment.shared(self.path)
        except (lmdb.Error, OSError) as error:
            raise UserError(f"{self.path}: not a readable LMDB: {error}") from error

    def _current(self) -> _Environment:
        if self._pid != os.getpid():
            self._environment, self._pid = self._opened(), os.getpid()
        return self._environment

    def __len__(self) -> int:
        return len(self._environment.keys)

    def key(self, index: int) -> str:
        """Return the key of record ``index``, e.g. ``00000000_JPEGImages/000005.jpg``."""
        return self._current().keys[index].decode("utf-8", "replace")

    def value(self, index: int) -> bytes:
        """Return the bytes stored as record ``index``.

        Raises:
            UserError: They cannot be read, naming the key.
        """
        environment = self._current()
        try:
            with environment.lmdb.begin() as transaction:
                return transaction.get(environment.keys[index]) or b""
        except lmdb.Error as error:
            raise UserError(f"{self.where(index)} cannot be read: {error}") from error

    def where(self, index: int) -> str:
        """Return how errors name record ``index``: the folder and its key."""
        return f"{self.path}: record '{self.key(index)}'"

    def record(self, index: int) -> pb.AnnotatedDatum:
        """Return record ``index``.

        Raises:
            UserError: The stored bytes are no AnnotatedDatum, naming the key.
        """
        record = parse_binary(self.value(index), pb.AnnotatedDatum, self.where(index))
        if not record.HasField("datum"):
            raise UserError(f"{self.where(index)} holds no picture: it is no AnnotatedDatum")
        return record


def record_key(number: int, path: str) -> str:
    """Return the key convert_annoset gives the picture on line ``number`` (from 0)."""
    return f"{number:08d}_{path}"


def write_database(
    path: str | os.PathLike[str], records: Iterable[tuple[str, pb.AnnotatedDatum]]
) -> None:
    """Write ``records`` to a new LMDB folder ``path``, aside first; an older one is replaced.

    The same records give the same bytes.

    Args:
        path: Final folder.
        records: Keys, ascending, and records.

    Raises:
        UserError: The folder cannot be written.
    """
    with folder_aside(path) as aside:
        append_records(aside, lambda done: records)


def append_records(
    folder: Path, records: Callable[[int], Iterable[tuple[str, pb.AnnotatedDatum]]]
) -> None:
    """Write records to the LMDB in ``folder``, after those that an earlier, killed call wrote.

    Records become certain a thousand at a time. Nobody else may open the folder meanwhile.

    Args:
        folder: There is already; without an LMDB in it a new one is begun.
        records: Gives keys, ascending, and records from the given number on.

    Raises:
        UserError: The folder cannot be written, or holds something else.
    """
    made = None
    try:
        while made is None or made:
            # A fresh environment for every commit: LMDB reuses the pages of the one before with
            # what they held, and a continued database would differ in bytes nobody reads.
            with lmdb.open(str(folder), map_size=MAP_SIZE, lock=False) as environment:
                if made is None:
                    rest = iter(records(environment.stat()["entries"]))
                with environment.begin(write=True) as transaction:
                    made = _put(transaction, islice(rest, RECORDS_PER_COMMIT))
    except lmdb.Error as error:
        # A write cut short by a full disk is an input/output error to LMDB.
        full = shutil.disk_usage(folder).free < LITTLE
        reason = "No space left on device" if full else str(error)
        raise UserError(f"{folder}: cannot write this LMDB: {reason}") from error


def _put(transaction: lmdb.Transaction, records: Iterable[tuple[str, pb.AnnotatedDatum]]) -> int:
    count = 0
    for key, record in records:
        value = record.SerializeToString(deterministic=True)
        transaction.put(key.encode("utf-8"), value, append=True)
        count += 1
    return count
