"""Binary files: ``.caffemodel`` (NetParameter) and ``.solverstate`` (SolverState)."""

from __future__ import annotations

import os
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_bytes, written_aside

M = TypeVar("M", bound=Message)


def parse_binary(data: bytes, kind: type[M], source: str) -> M:
    """Parse wire bytes into a message of class ``kind``; ``source`` names them in errors.

    Raises:
        UserError: The bytes are no such message: another kind of file, or cut short.
    """
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise UserError(
            f"{source}: not a complete binary {kind.DESCRIPTOR.name} "
            f"({len(data)} bytes): the file is cut short or of another kind"
        ) from error


def read_binary(path: str | os.PathLike[str], kind: type[M]) -> M:
    """Read the binary file ``path`` as a message of class ``kind``; see `parse_binary`."""
    return parse_binary(read_bytes(path), kind, os.fspath(path))


def write_binary(path: str | os.PathLike[str], message: Message) -> None:
    """Write ``message`` to ``path`` in wire format, aside first."""
    with written_aside(path) as stream:
        stream.write(message.SerializeToString(deterministic=True))
