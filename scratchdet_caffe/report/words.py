"""Words for numbers that people read."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Return seconds as ``42 s``, ``3 min 5 s`` or ``7 h 12 min``."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
