"""The backbone in the picture: stages, boxes, edges with shapes, blocks that repeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scratchdet_caffe.analysis.draw import style
from scratchdet_caffe.analysis.draw.layout import Layout, Place, Stage
from scratchdet_caffe.analysis.draw.svg import Canvas, Point
from scratchdet_caffe.analysis.draw.units import Fold, Unit
from scratchdet_caffe.analysis.summary import LayerRow
from scratchdet_caffe.analysis.summary_text import scaled, shape_text


@dataclass(frozen=True)
class Spot:
    """Where a box is drawn, in pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.x + self.width / 2

    @property
    def centre(self) -> float:
        return self.y + self.height / 2

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height


class Grid:
    """Pixels of ranks and columns.

    Args:
        layout: The backbone, laid out.
        corner: Left and top end of the first stage.
        rooms: Of ranks that something is drawn beside: the height that it takes.
    """

    def __init__(self, layout: Layout, corner: Point, rooms: Mapping[int, float]) -> None:
        self.layout = layout
        self.left, top = corner
        self.columns = self._columns()
        self.ranks: dict[int, float] = {}
        self.heads: list[float] = []
        free = y = top
        for stage in layout.stages:
            self.heads.append(y)
            y += style.STAGE_HEAD
            for rank in range(stage.first, stage.last + 1):
                if rank in rooms:
                    # What is drawn beside a box is as far above its centre as below.
                    above = max(0.0, (rooms[rank] - style.BOX[1]) / 2)
                    y = max(y, free + above)
                    free = y + rooms[rank] - above
                self.ranks[rank] = y
                y += style.BOX[1] + style.ROW_GAP
            y += style.STAGE_GAP
        self.bottom = max(y, free)

    def _columns(self) -> list[float]:
        """Return the left end of each column, and the right end of the last."""
        ends = [self.left + 12]
        for column in range(self.layout.columns):
            boxed = column in self.layout.boxed
            ends.append(ends[-1] + (style.BOX[0] + style.COLUMN_GAP if boxed else style.LANE))
        return ends

    @property
    def right(self) -> float:
        return self.columns[-1]

    def spot(self, place: Place) -> Spot:
        return Spot(self.columns[place.column], self.ranks[place.rank], *style.BOX)

    def lane(self, place: Place) -> float:
        """Return the x at which an edge passes ``place``."""
        left, right = self.columns[place.column : place.column + 2]
        gap = style.COLUMN_GAP if place.column in self.layout.boxed else 0
        return (left + right - gap) / 2


def paint_backbone(
    canvas: Canvas,
    grid: Grid,
    units: Sequence[Unit],
    folds: Sequence[Fold],
    rows: Sequence[LayerRow],
    sources: set[int],
) -> dict[int, Spot]:
    """Draw all stages and return where each unit is."""
    spots = {unit: grid.spot(place) for unit, place in grid.layout.places.items()}
    room = style.FOLD_ROOM if folds else 0.0
    for stage, y in zip(grid.layout.stages, grid.heads):
        _paint_stage(canvas, grid, stage, y, room, units, folds, rows)
    for fold in folds:
        _paint_fold(canvas, grid, units, fold, spots)
    for edge, passed in grid.layout.edges.items():
        _paint_edge(canvas, grid, spots, edge, passed)
        source, target = edge
        after = passed[0] if passed else grid.layout.places[target]
        if after.column == grid.layout.places[source].column:
            _paint_shape(canvas, units, folds, source, spots[source])
    for unit, spot in spots.items():
        paint_unit(canvas, units[unit], spot, rows, is_source=unit in sources)
    return spots


def paint_unit(
    canvas: Canvas, unit: Unit, spot: Spot, rows: Sequence[LayerRow], *, is_source: bool = False
) -> None:
    """Draw the box of ``unit``: its name, and what it does."""
    fill, stroke, _ = style.COLOURS[style.kind_of(unit.type, unit.group.part)]
    colour, thick = (style.SOURCE, 2.5) if is_source else (stroke, 1.0)
    tip = "\n".join(_tip(rows[index]) for index in unit.layers)
    size = (spot.width, spot.height)
    canvas.box((spot.x, spot.y), size, fill, colour, thick=thick, tip=tip, kind="unit")
    room = spot.width - 12
    canvas.text((spot.x + 6, spot.y + 14), unit.name, bold=True, width=room)
    canvas.text((spot.x + 6, spot.y + 27), unit.text, size=9, colour="#444", width=room)


def _tip(row: LayerRow) -> str:
    shapes = ", ".join(map(shape_text, row.tops))
    text = f"{row.name} ({row.type}) {shapes}"
    text += f", {row.parameters:,} parameters" if row.parameters else ""
    return text + (f", {scaled(row.flops)}FLOPs" if row.flops else "")


def _members(units: Sequence[int], folds: Sequence[Fold]) -> list[int]:
    """Return ``units`` with those that folds leave undrawn."""
    hidden = [
        unit
        for fold in folds
        if fold.first in units
        for unit in range(fold.first + fold.length, fold.first + fold.length * fold.count)
    ]
    return [*units, *hidden]


def _paint_stage(
    canvas: Canvas,
    grid: Grid,
    stage: Stage,
    y: float,
    room: float,
    units: Sequence[Unit],
    folds: Sequence[Fold],
    rows: Sequence[LayerRow],
) -> None:
    own = [rows[index] for unit in _members(stage.units, folds) for index in units[unit].layers]
    end = grid.ranks[stage.last] + style.BOX[1] + 22
    width = grid.right + room - grid.left
    canvas.box((grid.left, y), (width, end - y), *style.PANEL, panel=True)
    group = units[stage.units[0]].group
    stride = next((row.field.stride[0] for row in own if row.field and row.field.stride[0]), None)
    title = shape_text(group.map) if group.map else group.part
    if group.map and stride:
        title += f", stride {float(stride):g}"
    at, ground = (grid.left + 8, y + 14), style.PANEL[0]
    canvas.text(at, title, size=11, bold=True, colour="#3c4a5a", behind=ground)
    parameters, flops = sum(r.parameters or 0 for r in own), sum(r.flops or 0 for r in own)
    if flops:
        facts = f"{scaled(parameters)} parameters, {scaled(flops)}FLOPs"
        at = (grid.left + width - 8, end - 5)
        canvas.text(at, facts, size=9, colour="#5a6878", anchor="end", behind=ground)


def _paint_fold(
    canvas: Canvas, grid: Grid, units: Sequence[Unit], fold: Fold, spots: Mapping[int, Spot]
) -> None:
    own = [spots[unit] for unit in range(fold.first, fold.first + fold.length) if unit in spots]
    x, y = min(s.x for s in own) - 6, min(s.y for s in own) - 6
    corner, size = (x, y), (grid.right + 68 - x, max(s.bottom for s in own) + 6 - y)
    last = units[fold.first + fold.length * fold.count - 1].name
    tip = f"{fold.count} equal blocks, {units[fold.first].name} to {last}"
    canvas.box(corner, size, "none", style.FOLD, dashed=True, tip=tip)
    canvas.text((x + size[0] - 60, y + 22), f"× {fold.count}", size=16, bold=True)
    at = (x + size[0] - 60, y + 34)
    canvas.text(at, f"to {last}", size=8, colour="#555", width=58)


def _paint_edge(
    canvas: Canvas,
    grid: Grid,
    spots: Mapping[int, Spot],
    edge: tuple[int, int],
    passed: Sequence[Place],
) -> None:
    source, target = edge
    start, end = spots[source], spots[target]
    points = [(start.middle, start.bottom)]
    for place in passed:
        x, y = grid.lane(place), grid.ranks[place.rank]
        points += [(x, y), (x, y + style.BOX[1])]
    # Edges that come from lanes beside meet the box beside its middle.
    last = points[-1][0]
    shift = 0.0 if abs(last - end.middle) < 1 else (24.0 if last > end.middle else -24.0)
    points.append((end.middle + shift, end.y))
    canvas.arrow(points, style.SHORTCUT if passed else style.LINE)


def _paint_shape(
    canvas: Canvas, units: Sequence[Unit], folds: Sequence[Fold], unit: int, spot: Spot
) -> None:
    """Write the shape that leaves a box, left of its arrow, if it is not the one that came in."""
    shape, below = _made(units, folds, unit), units[unit].below
    before = units[below[0]].shape if below else None
    if shape and len(shape) > 1 and shape != before:
        at = (spot.middle - 6, spot.bottom + 13)
        canvas.text(at, shape_text(shape[1:]), size=8.5, colour="#777", anchor="end")


def _made(units: Sequence[Unit], folds: Sequence[Fold], unit: int) -> tuple[int, ...] | None:
    """Return the shape that goes on from ``unit``: of its last like, where it is folded."""
    for fold in folds:
        if fold.first <= unit < fold.first + fold.length:
            unit += fold.length * (fold.count - 1)
    return units[unit].shape
