"""A drawing as SVG: boxes, lines and text in layers, all text selectable."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"
Point = tuple[float, float]


@dataclass
class Canvas:
    """Collects shapes: panels lie under lines, lines under boxes, boxes under text."""

    panels: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    boxes: list[str] = field(default_factory=list)
    right: float = 0
    bottom: float = 0

    def box(
        self,
        corner: Point,
        size: Point,
        fill: str,
        stroke: str,
        *,
        thick: float = 1,
        dashed: bool = False,
        tip: str = "",
        kind: str = "",
        panel: bool = False,
    ) -> None:
        """Add a rectangle; ``tip`` is shown when the mouse rests on it, ``kind`` is its class."""
        (x, y), (width, height) = corner, size
        dash = ' stroke-dasharray="5 3"' if dashed else ""
        own = f' class="{kind}"' if kind else ""
        title = f"<title>{escape(tip)}</title>" if tip else ""
        shape = (
            f'<rect{own} x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" '
            f'fill="{fill}" stroke="{stroke}" stroke-width="{thick:g}"{dash}>{title}</rect>'
        )
        (self.panels if panel else self.boxes).append(shape)
        self._reach(x + width, y + height)

    def text(
        self,
        at: Point,
        text: str,
        *,
        size: float = 10,
        bold: bool = False,
        colour: str = "#222",
        anchor: str = "start",
        width: float | None = None,
        behind: str = "",
    ) -> None:
        """Add one line of text.

        Args:
            at: The end of its base line that ``anchor`` names.
            text: The text.
            size: Of the font, in pixels.
            bold: Whether it is bold.
            colour: Of the letters.
            anchor: ``start``, ``middle`` or ``end``.
            width: Room for it: a longer text is cut in its middle.
            behind: Colour to lay behind it, so that it is legible over lines.
        """
        if width is not None:
            text = shortened(text, width, size)
        extent = text_width(text, size)
        left = at[0] - extent * {"start": 0, "middle": 0.5, "end": 1}[anchor]
        if behind:
            self.boxes.append(
                f'<rect x="{left - 2:g}" y="{at[1] - size:g}" width="{extent + 4:g}" '
                f'height="{size + 3:g}" fill="{behind}"/>'
            )
        weight = ' font-weight="bold"' if bold else ""
        self.boxes.append(
            f'<text x="{at[0]:g}" y="{at[1]:g}" font-size="{size:g}" fill="{colour}" '
            f'text-anchor="{anchor}"{weight}>{escape(text)}</text>'
        )
        self._reach(left + extent, at[1])

    def arrow(
        self, points: Sequence[Point], colour: str, *, head: bool = True, dashed: bool = False
    ) -> None:
        """Add a line through ``points``; bends between points at different x and y are smooth."""
        path = [f"M{points[0][0]:g},{points[0][1]:g}"]
        for (x0, y0), (x1, y1) in itertools.pairwise(points):
            if x0 == x1 or y0 == y1:
                path.append(f"L{x1:g},{y1:g}")
            else:
                middle = (y0 + y1) / 2
                path.append(f"C{x0:g},{middle:g} {x1:g},{middle:g} {x1:g},{y1:g}")
        marker = ' marker-end="url(#head)"' if head else ""
        dash = ' stroke-dasharray="3 3"' if dashed else ""
        self.lines.append(
            f'<path d="{" ".join(path)}" fill="none" stroke="{colour}"{dash}{marker}/>'
        )
        for x, y in points:
            self._reach(x, y)

    def _reach(self, x: float, y: float) -> None:
        self.right, self.bottom = max(self.right, x), max(self.bottom, y)

    def document(self, title: str, margin: float = 16) -> str:
        """Return the SVG document, as large as what was drawn."""
        width, height = round(self.right + margin), round(self.bottom + margin)
        head = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family={quoteattr(FONT)}>\n'
            f"<title>{escape(title)}</title>\n"
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto"><path d="M0,0.5 L8,4 L0,7.5 z" fill="#666"/>'
            "</marker></defs>\n"
            f'<rect width="{width}" height="{height}" fill="#fff"/>\n'
        )
        return head + "\n".join([*self.panels, *self.lines, *self.boxes, "</svg>", ""])


def text_width(text: str, size: float) -> float:
    """Return about how wide ``text`` is in a sans-serif font of this size."""
    narrow = sum(character in "ijl.,:;|'! ()[]/ftI1" for character in text)
    wide = sum(character in "mwMW@%" for character in text)
    return size * (0.56 * len(text) - 0.22 * narrow + 0.26 * wide)


def shortened(text: str, width: float, size: float) -> str:
    """Return ``text``, or its ends around an ellipsis if it is wider than ``width``."""
    if text_width(text, size) <= width:
        return text
    keep = len(text) - 1
    while (
        keep > 2 and text_width(f"{text[: (keep + 1) // 2]}…{text[-(keep // 2) :]}", size) > width
    ):
        keep -= 1
    return f"{text[: (keep + 1) // 2]}…{text[-(keep // 2) :]}"
