"""The processes that train one net together, as a run sees them."""

from __future__ import annotations

from typing import Protocol, TypeVar

T = TypeVar("T")


class Company(Protocol):
    """This process among those that train together; all call its methods in the same order.

    Attributes:
        rank: The number of this process; number 0 tests, writes and speaks.
        world: How many processes there are.
    """

    @property
    def rank(self) -> int: ...

    @property
    def world(self) -> int: ...

    def most(self, *values: float) -> list[float]:
        """Return the largest of each value over all processes."""

    def first_says(self, value: T) -> T:
        """Return what process 0 has for ``value``."""

    def all_say(self, value: T) -> list[T]:
        """Return what each process has for ``value``, by rank."""


class Alone:
    """The company of one process."""

    rank, world = 0, 1

    def most(self, *values: float) -> list[float]:
        """Return ``values``."""
        return list(values)

    def first_says(self, value: T) -> T:
        """Return ``value``."""
        return value

    def all_say(self, value: T) -> list[T]:
        """Return ``value`` as the only one."""
        return [value]
