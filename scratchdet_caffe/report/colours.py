"""Colours of classes, the same in curves, pages and pictures."""

CLASS_COLOURS = (
    "#2f7ab8", "#d9822b", "#3d9a5f", "#b8473f", "#8062a8",
    "#8a6d4b", "#c763a0", "#5f6b76", "#a8a032", "#2ba3ad",
)  # fmt: skip


def class_colour(index: int) -> str:
    """A colour for the class of this index (from 0), the same in curves and pictures."""
    return CLASS_COLOURS[index % len(CLASS_COLOURS)]
