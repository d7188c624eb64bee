"""How data layers load their records: set once for a process, as Caffe's mode and device are."""

from __future__ import annotations

from dataclasses import dataclass

from scratchdet_caffe.errors import UserError


@dataclass(frozen=True)
class Loading:
    """Settings of AnnotatedData layers built from now on.

    Attributes:
        threads: Threads that make the records.
        workers: Processes that make them instead; 0 for threads.
        on_bad: What to do about a corrupt record: ``"stop"``, or ``"skip"`` it and count.
    """

    threads: int = 2
    workers: int = 0
    on_bad: str = "stop"


class _Chosen:
    loading = Loading()


def set_loading(threads: int = 2, workers: int = 0, on_bad: str = "stop") -> None:
    """Choose how data layers that are built from now on load.

    Raises:
        UserError: A number is negative.
    """
    if min(threads, workers) < 0:
        raise UserError(f"threads and workers must not be negative, not {threads} and {workers}")
    _Chosen.loading = Loading(threads, workers, on_bad)


def loading() -> Loading:
    """Return the settings of data layers built now."""
    return _Chosen.loading
