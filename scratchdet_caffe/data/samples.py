"""Samples: pictures with a way to read their annotations, wherever these come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scratchdet_caffe.data.annotation import Annotation
from scratchdet_caffe.data.convert import ListEntry


@dataclass(frozen=True)
class Sample:
    """A picture to train or test on.

    Attributes:
        entry: Picture and annotation, relative to the root of the set.
        read: Reads the annotation (and may raise `UserError`); None where there is none.
        name: What detection and name_size files call the picture.
        where: How messages name the annotation.
        file: Of the annotation: when it changes, so may the annotation.
        slack: How many pixels a box may reach beyond the picture without being a fault.
    """

    entry: ListEntry
    read: Callable[[], Annotation | None]
    name: str
    where: str
    file: Path
    slack: float = 0.0


def nothing() -> None:
    """Read the annotation of a picture that has none."""
