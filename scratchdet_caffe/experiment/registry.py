"""A registry: words that users type, and what they stand for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from scratchdet_caffe.errors import UserError, nearest


class Named(Protocol):
    """What a registry holds: something with a word of its own and one line about it."""

    @property
    def name(self) -> str: ...
    @property
    def about(self) -> str: ...


T = TypeVar("T", bound=Named)


class Registry(Generic[T]):
    """Entries by name, in the order they were added; an unknown word names the nearest."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def add(self, entry: T) -> T:
        """Register ``entry`` under its name."""
        self._entries[entry.name] = entry
        return entry

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            raise unknown(self.kind, name, self._entries)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[T]:
        return iter(self._entries.values())


def unknown(kind: str, word: str, known: dict[str, T] | list[str]) -> UserError:
    """Return the error for a ``word`` that is no ``kind``: the nearest word and all of them."""
    return UserError(f"unknown {kind} '{word}'{nearest(word, known)}; known: {', '.join(known)}")
