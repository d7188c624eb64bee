"""What an annotation says, whatever the format of its file: the picture's size and its objects."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Object:
    """One object: class name, ``(xmin, ymin, xmax, ymax)`` in pixels as written, difficult."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool

    @property
    def degenerate(self) -> bool:
        """A box without area: it is kept in the database and dropped by the transform."""
        return self.box[0] == self.box[2] or self.box[1] == self.box[3]


@dataclass(frozen=True)
class Annotation:
    """The objects of one picture.

    Attributes:
        width: Of the picture as the file says, pixels; None where it says nothing (or zero).
        height: The same.
        objects: In the order of the file.
        notes: What is odd in the file, each as a kind and a phrase.
        truncated: How many objects are marked as cut off by the picture's edge.
    """

    width: int | None
    height: int | None
    objects: tuple[Object, ...]
    notes: tuple[tuple[str, str], ...] = ()
    truncated: int = 0
