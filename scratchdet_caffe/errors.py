"""The one kind of error that a user causes and a user can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in what the user gave: one sentence that says what, where and what to do.

    Commands print it without a traceback and end with exit status 2.
    """


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the known word nearest to ``word``, or ``""``.

    A word of about the same length may differ more: short words lie hidden in long ones by
    chance, as 'ring' does in 'triangle'.
    """
    by_lower = {name.lower(): name for name in known}
    alike = [name for name in by_lower if abs(len(name) - len(word)) <= 1]
    match = difflib.get_close_matches(word.lower(), list(by_lower), n=1, cutoff=0.75)
    match = match or difflib.get_close_matches(word.lower(), alike, n=1, cutoff=0.65)
    return f" (did you mean '{by_lower[match[0]]}'?)" if match else ""
