"""What to do about bad records: stop and name the first, or take the next good one and count."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

import cv2

from scratchdet_caffe.errors import UserError

T = TypeVar("T")
Skipped = tuple[tuple[str, str], ...]  # records passed over: their names, and what is wrong

STOP, SKIP = "stop", "skip"
MOST_IN_A_ROW = 20  # bad records, before skipping is no use
LOG = logging.getLogger("caffe")


def checked_policy(on_bad: str) -> str:
    """Return ``on_bad``.

    Raises:
        UserError: It is neither `STOP` nor `SKIP`.
    """
    if on_bad not in (STOP, SKIP):
        raise UserError(f"on_bad is '{STOP}' or '{SKIP}', not '{on_bad}'")
    return on_bad


def first_good(
    indices: Iterable[int], where: Callable[[int], str], attempt: Callable[[int], T], on_bad: str
) -> tuple[T, Skipped]:
    """Return what ``attempt`` makes of the first good record, and what was passed over for it.

    Args:
        indices: Of the record that is wanted, and of those that may take its place.
        where: How errors name a record.
        attempt: Makes something of a record, or raises `UserError` or `cv2.error`.
        on_bad: `STOP` or `SKIP`.

    Raises:
        UserError: The record is bad, or with `SKIP` all of ``indices`` are.
    """
    skipped: list[tuple[str, str]] = []
    for index in indices:
        try:
            return attempt(index), tuple(skipped)
        except (UserError, cv2.error) as error:
            name, text = where(index), str(error)
            text = text if text.startswith(name) else f"{name}: {text}"
            if on_bad == STOP:
                raise UserError(text) from error
            skipped.append((name, text))
    raise UserError(f"{len(skipped)} bad records in a row, the last: {skipped[-1][1]}")


class Tally:
    """Counts the records passed over, and logs each once."""

    def __init__(self) -> None:
        self.count = 0
        self._told: set[str] = set()

    def add(self, skipped: Skipped) -> None:
        """Count ``skipped``."""
        for name, text in skipped:
            self.count += 1
            if name not in self._told:
                self._told.add(name)
                LOG.warning(f"Skipped {text}")
