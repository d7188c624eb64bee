"""Plain tables (TOML, ``--set``) into frozen dataclasses, with every mistake named."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment.registry import unknown

T = TypeVar("T")


def build(kind: type[T], table: Mapping[str, Any], source: str, path: str = "") -> T:
    """Make a ``kind`` (a dataclass) of ``table``, nested dataclasses included.

    Args:
        kind: The dataclass.
        table: Its fields by name; fields with a default may be missing.
        source: What to call the table in errors, e.g. ``recipe mini``.
        path: Where ``table`` stands within the source, e.g. ``solver``.

    Raises:
        UserError: An unknown or missing field, or a value of the wrong type.
    """
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(kind)
    for word in table:
        if word not in fields:
            raise unknown(f"field of {source}", _join(path, word), [_join(path, f) for f in fields])
    values = {}
    for name, field in fields.items():
        if name in table:
            values[name] = _value(hints[name], table[name], source, _join(path, name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise UserError(f"{source}: '{_join(path, name)}' is missing")
    return kind(**values)


def _value(kind: Any, value: Any, source: str, path: str) -> Any:
    if isinstance(kind, types.UnionType):  # X | None
        return _value(typing.get_args(kind)[0], value, source, path)
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        return build(typing.cast("type[Any]", kind), value, source, path)
    if typing.get_origin(kind) is tuple and isinstance(value, list | tuple):
        return tuple(_value(typing.get_args(kind)[0], item, source, path) for item in value)
    if typing.get_origin(kind) is dict and isinstance(value, Mapping):
        each = typing.get_args(kind)[1]
        return {word: _value(each, item, source, _join(path, word)) for word, item in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    if not isinstance(kind, type) or type(value) is not kind:
        raise UserError(f"{source}: '{path}' is {value!r}, but must be {_wanted(kind)}")
    return value


def _wanted(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        return f"a list, each {_wanted(typing.get_args(kind)[0])}"
    if typing.get_origin(kind) is dict:
        return f"a table, each {_wanted(typing.get_args(kind)[1])}"
    if dataclasses.is_dataclass(kind):
        return "a table of " + ", ".join(f.name for f in dataclasses.fields(kind))
    words = {float: "a number", int: "a whole number", bool: "true or false", str: "a word"}
    return words.get(kind, str(kind))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
