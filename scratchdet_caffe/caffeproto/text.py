"""Prototxt: protobuf text in and out, with errors that name file, line, column and word."""

from __future__ import annotations

import os
import re
from typing import Any, TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from scratchdet_caffe.errors import UserError, nearest
from scratchdet_caffe.files import read_text, write_text

M = TypeVar("M", bound=Message)


class PrototxtError(UserError):
    """A prototxt that the schema does not accept; the sentence starts with file:line:column.

    Attributes:
        line: Where the text stops making sense, counted from 1.
        unknown_field: The text is well formed, but has a field that the schema lacks.
    """

    def __init__(self, message: str, line: int = 1, unknown_field: bool = False) -> None:
        super().__init__(message)
        self.line = line
        self.unknown_field = unknown_field


def parse_text(text: str, kind: type[M], source: str = "<text>", skip_unknown: bool = False) -> M:
    """Parse prototxt ``text`` into a new message of class ``kind``.

    Args:
        text: Protobuf text, as Caffe writes it.
        kind: A message class of ``caffe_pb2``, e.g. ``NetParameter``.
        source: What to call the text in errors, usually its file.
        skip_unknown: Leave fields out that the schema lacks, instead of an error.

    Raises:
        PrototxtError: Syntax, field or value error, with the nearest valid name.
    """
    message = kind()
    try:
        text_format.Parse(text, message, allow_unknown_field=skip_unknown)
    except text_format.ParseError as error:
        sentence = _sentence(error, text, kind.DESCRIPTOR, source)
        raise PrototxtError(
            sentence, error.GetLine() or 1, unknown_field=" has no field '" in sentence
        ) from error
    except RecursionError as error:
        raise PrototxtError(f"{source}: messages are nested too deeply") from error
    missing = message.FindInitializationErrors()  # type: ignore[attr-defined]
    if missing:
        raise PrototxtError(f"{source}: required field '{missing[0]}' is missing")
    return message


def read_prototxt(path: str | os.PathLike[str], kind: type[M]) -> M:
    """Read the prototxt file ``path`` as a message of class ``kind``; see `parse_text`."""
    return parse_text(read_text(path, "prototxt"), kind, os.fspath(path))


def format_text(message: Message) -> str:
    """Return ``message`` as prototxt, floats as the shortest decimal of their float32."""
    return text_format.MessageToString(message)


def write_prototxt(path: str | os.PathLike[str], message: Message) -> None:
    """Write ``message`` to ``path`` as prototxt, aside first."""
    write_text(path, format_text(message))


def _sentence(error: text_format.ParseError, text: str, root: Any, source: str) -> str:
    line, column = error.GetLine() or 1, error.GetColumn() or 1
    where = f"{source}:{line}:{column}"
    # The parser repeats position and source line in front of its reason; we have said both.
    reason = re.sub(r"^\d+:\d+ : ", "", str(error), count=1)
    lines = text.split("\n")
    shown = lines[line - 1] if line <= len(lines) else ""
    reason = reason.removeprefix(f"'{shown}': ").removesuffix(".")
    if found := re.match(r'Message type "([\w.]+)" has no field named "([^"]*)"', reason):
        type_name, word = found.groups()
        message = root.file.pool.FindMessageTypeByName(type_name)
        known = [field.name for field in message.fields]
        return f"{where}: {_short(type_name)} has no field '{word}'{nearest(word, known)}"
    if found := re.match(r'Enum type "([\w.]+)" has no value named (\w+)', reason):
        type_name, word = found.groups()
        known = list(root.file.pool.FindEnumTypeByName(type_name).values_by_name)
        hint = nearest(word, known) or f" (known: {', '.join(known)})"
        return f"{where}: {_short(type_name)} has no value '{word}'{hint}"
    if found := re.match(r'Message type "([\w.]+)" should not have multiple "(\w+)"', reason):
        return f"{where}: '{found[2]}' is given twice in one {_short(found[1])}"
    return f"{where}: {reason}"


def _short(type_name: str) -> str:
    return type_name.removeprefix("caffe.")
