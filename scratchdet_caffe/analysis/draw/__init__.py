"""A net as a picture: its backbone from top to bottom, a detector's heads beside it, in SVG."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from scratchdet_caffe.analysis.detector import Level, groups, heads
from scratchdet_caffe.analysis.draw import style
from scratchdet_caffe.analysis.draw.backbone import Grid, Spot, paint_backbone
from scratchdet_caffe.analysis.draw.detector import (
    neck_rows,
    neck_width,
    paint_head,
    paint_neck,
    paint_outputs,
)
from scratchdet_caffe.analysis.draw.layout import Layout, lay_out
from scratchdet_caffe.analysis.draw.svg import Canvas, text_width
from scratchdet_caffe.analysis.draw.units import drawn_for, find_folds, make_units
from scratchdet_caffe.analysis.summary import Summary, summarise
from scratchdet_caffe.analysis.summary_text import scaled, shape_text
from scratchdet_caffe.analysis.view import NetView

__all__ = ["draw"]


def draw(view: NetView) -> str:
    """Return an SVG picture of ``view``: the same bytes for the same net."""
    return _Picture(view).paint()


class _Picture:
    """The parts of a net, sorted into backbone, neck (TCB), heads and outputs, and painted."""

    def __init__(self, view: NetView) -> None:
        self.view = view
        self.summary = summarise(view)
        self.heads = heads(view)
        self.units, self.unit_of = make_units(view, groups(view, self.heads))
        parts = [unit.group.part for unit in self.units]
        neck = [u for u, part in enumerate(parts) if part == "TCB"]
        self.outputs = [u for u, part in enumerate(parts) if self.heads and part == "output"]
        read = {below for unit in self.units for below in unit.below}
        unread = [u for u, part in enumerate(parts) if part == "input" and u not in read]
        self.trunk = [u for u in range(len(parts)) if u not in {*neck, *self.outputs, *unread}]
        self.neck = neck_rows(self.units, neck)
        self.tapped = {self._source(level) for head in self.heads for level in head.levels} | {
            below for unit in neck for below in self.units[unit].below
        }
        self.folds = find_folds(self.units, self.tapped)

    def _source(self, level: Level) -> int:
        """Return the unit that ``level`` predicts from; -1 for none."""
        return -1 if level.source is None else self.unit_of.get(level.source, -1)

    def paint(self) -> str:
        canvas = Canvas()
        top = _paint_title(canvas, self.summary)
        has_arm = any(head.name == "ARM" for head in self.heads)
        left = style.MARGIN + (style.HEAD[0] + style.SIDE_GAP if has_arm else 0)
        layout = lay_out(self.units, self.trunk, self.folds)
        drawn = {unit: drawn_for(unit, self.folds) for unit in self.tapped}
        rows = self.summary.layers
        grid = Grid(layout, (left, top), self._rooms(layout, drawn))
        spots = paint_backbone(canvas, grid, self.units, self.folds, rows, set(drawn.values()))
        spots |= {unit: spots[drawn[unit]] for unit in self.tapped if drawn[unit] in spots}
        right = grid.right + (style.FOLD_ROOM if self.folds else 0) + style.SIDE_GAP
        if self.neck:
            paint_neck(canvas, self.units, self.neck, spots, right, rows)
            right += neck_width(self.neck) + 8
        placed = self._paint_heads(canvas, spots, right)
        if placed:
            paint_outputs(canvas, self.view, self.units, self.outputs, self.heads, placed)
        return canvas.document(f"{self.summary.name or self.summary.source}, {self.summary.phase}")

    def _rooms(self, layout: Layout, drawn: Mapping[int, int]) -> dict[int, float]:
        """Return the height that is needed beside each rank with sources."""
        boxes = Counter(
            (head.name, layout.places[drawn[self._source(level)]].rank)
            for head in self.heads
            for level in head.levels
            if drawn[self._source(level)] in layout.places
        )
        rooms = {
            rank: count * (style.HEAD[1] + style.HEAD_GAP) for (_, rank), count in boxes.items()
        }
        for row in self.neck:
            for below in (b for unit in row.units for b in self.units[unit].below if b in drawn):
                if drawn[below] in layout.places:
                    rank = layout.places[drawn[below]].rank
                    rooms[rank] = max(rooms.get(rank, 0), 2 * style.NECK[1] + 40)
        return rooms

    def _paint_heads(
        self, canvas: Canvas, spots: Mapping[int, Spot], right: float
    ) -> dict[str, list[Spot]]:
        """Draw all predictions, and return where, by head."""
        placed: dict[str, list[Spot]] = {}
        for head in self.heads:
            arm = head.name == "ARM"
            x = style.MARGIN + 14 if arm else right
            by_height: dict[float, list[tuple[Level, Spot]]] = {}
            for level in head.levels:
                if spot := spots.get(self._source(level)):
                    by_height.setdefault(spot.centre, []).append((level, spot))
            for same in by_height.values():
                for i, (level, spot) in enumerate(same):
                    y = spot.centre + (i - (len(same) - 1) / 2) * (style.HEAD[1] + style.HEAD_GAP)
                    box = paint_head(canvas, self.view, head, level, spot, (x, y), arm)
                    placed.setdefault(head.name, []).append(box)
        return placed


def _paint_title(canvas: Canvas, summary: Summary) -> float:
    """Write name, totals and legend; return where the picture goes on."""
    x, y = style.MARGIN, style.MARGIN + 12
    canvas.text((x, y), summary.name or summary.source, size=15, bold=True)
    total = summary.total
    inputs = [row.tops[0] for row in summary.layers if row.group.part == "input" and row.tops]
    facts = [f"phase {summary.phase}"]
    facts += [f"input {shape_text(shape[1:])}" for shape in inputs[:1] if shape]
    if total.parameters:
        facts += [f"{total.parameters:,} parameters", f"{scaled(total.flops)}FLOPs per image"]
    if summary.unknown:
        facts.append("some shapes are not known (--input gives them)")
    canvas.text((x, y + 17), ", ".join(facts), size=10.5, colour="#555")
    at, line = x, y + 30
    for fill, stroke, name in style.COLOURS.values():
        canvas.box((at, line), (14, 10), fill, stroke)
        canvas.text((at + 19, line + 9), name, size=9.5)
        at += 34 + text_width(name, 9.5)
    at, line = x, line + 18
    others = (
        ("#fff", style.SOURCE, 2.5, False, "source: predicted from"),
        ("none", style.FOLD, 1, True, "block that repeats"),
    )
    for fill, stroke, thick, dashed, name in others:
        canvas.box((at, line), (14, 10), fill, stroke, thick=thick, dashed=dashed)
        canvas.text((at + 19, line + 9), name, size=9.5)
        at += 34 + text_width(name, 9.5)
    hint = "beside arrows: channels x height x width"
    canvas.text((at, line + 9), hint, size=9.5, colour="#777")
    return line + 26
