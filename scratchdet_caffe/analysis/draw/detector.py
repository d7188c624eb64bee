"""What a detector has beside its backbone: ARM and predictions, the TCB, and what reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scratchdet_caffe.analysis.detector import Head, Level
from scratchdet_caffe.analysis.draw import style
from scratchdet_caffe.analysis.draw.backbone import Spot, paint_unit
from scratchdet_caffe.analysis.draw.svg import Canvas, Point
from scratchdet_caffe.analysis.draw.units import Unit, describe
from scratchdet_caffe.analysis.summary import LayerRow
from scratchdet_caffe.analysis.view import NetView

_NECK_PITCH = style.NECK[0] + style.COLUMN_GAP + 6


def paint_head(
    canvas: Canvas, view: NetView, head: Head, level: Level, source: Spot, at: Point, left: bool
) -> Spot:
    """Draw the predictions of ``level`` and the edge from its source.

    Args:
        canvas: What to draw on.
        view: The net.
        head: The head.
        level: One of its levels.
        source: The box that is predicted from.
        at: Left end and middle height of the box.
        left: Whether it lies left of its source.
    """
    spot = Spot(at[0], at[1] - style.HEAD[1] / 2, *style.HEAD)
    fill, stroke, _ = style.COLOURS["ARM" if head.name == "ARM" else "head"]
    canvas.box((spot.x, spot.y), style.HEAD, fill, stroke, kind="head")
    value = level.source
    title = f"{head.name}: {view.graph.blob_of[value]}" if value is not None else head.name
    room = spot.width - 12
    canvas.text((spot.x + 6, spot.y + 14), title, bold=True, width=room)
    for line, text in enumerate(_predictions(view, head, level)):
        place = (spot.x + 6, spot.y + 28 + 13 * line)
        canvas.text(place, text, size=9, colour="#444", width=room)
    start, end = (source.x, spot.right) if left else (source.right, spot.x)
    bend = end + 16 if left else end - 16
    points = [
        (start, source.centre),
        (bend, source.centre),
        (bend, spot.centre),
        (end, spot.centre),
    ]
    canvas.arrow(points, style.SOURCE)
    return spot


def _predictions(view: NetView, head: Head, level: Level) -> list[str]:
    """Return the lines of a head's box: boxes, classes, priors and their sizes."""
    normalised = any(view.layers[index].type == "BatchNorm" for index in head.layers)
    lines = []
    for layer, what in ((level.loc, "boxes"), (level.conf, "classes")):
        if layer is not None:
            lines.append(f"{what}: {describe(layer)}" + (" · BN" if normalised else ""))
    if level.prior is None or level.priors_per_cell is None:
        return lines
    shape = level.prior.bottoms[0]
    if shape is not None and len(shape) == 4:
        height, width = shape[2:]
        count = height * width * level.priors_per_cell
        lines.append(f"{count:,} priors: {level.priors_per_cell} on each of {height}x{width}")
    if head.name != "ODM":
        p = level.prior.node.layer.prior_box_param
        sizes = " ".join(f"{size:g}" for size in (*p.min_size, *p.max_size))
        step = p.step or p.step_h
        lines.append(f"sizes {sizes}" + (f", step {step:g}" if step else ""))
    return lines


@dataclass(frozen=True)
class NeckRow:
    """The units of the TCB on one map.

    Attributes:
        columns: From left to right, by how many of them lie before; the longest way is on top.
        upwards: Those that come up from the next coarser map (deconvolutions).
    """

    columns: tuple[tuple[int, ...], ...]
    upwards: tuple[int, ...]

    @property
    def units(self) -> tuple[int, ...]:
        return (*(unit for column in self.columns for unit in column), *self.upwards)


def neck_rows(units: Sequence[Unit], neck: Sequence[int]) -> list[NeckRow]:
    """Put the units of the TCB into rows, one for each map."""
    by_map: dict[str, list[int]] = {}
    for unit in neck:
        by_map.setdefault(str(units[unit].group), []).append(unit)
    return [_neck_row(units, members, set(neck)) for members in by_map.values()]


def _neck_row(units: Sequence[Unit], members: Sequence[int], neck: set[int]) -> NeckRow:
    inside = set(members)
    upwards = [u for u in members if units[u].below and set(units[u].below) <= neck - inside]
    main = [unit for unit in members if unit not in upwards]
    ahead: dict[int, int] = {}
    for unit in reversed(main):
        ahead[unit] = max((ahead[u] + 1 for u in ahead if unit in units[u].below), default=0)
    depth: dict[int, int] = {}
    for unit in main:
        depth[unit] = max((depth[b] + 1 for b in units[unit].below if b in depth), default=0)
    columns = [
        tuple(sorted((u for u in main if depth[u] == d), key=lambda u: (-ahead[u], u)))
        for d in range(max(depth.values(), default=-1) + 1)
    ]
    return NeckRow(tuple(columns), tuple(upwards))


def neck_width(rows: Sequence[NeckRow]) -> float:
    """Return how wide the TCB is drawn."""
    return max((len(row.columns) for row in rows), default=0) * _NECK_PITCH


def paint_neck(
    canvas: Canvas,
    units: Sequence[Unit],
    rows: Sequence[NeckRow],
    spots: dict[int, Spot],
    left: float,
    facts: Sequence[LayerRow],
) -> None:
    """Draw the TCB: each map's units from left to right, at the height of what they read."""
    row_of = {unit: number for number, row in enumerate(rows) for unit in row.units}
    for row in rows:
        read = [spots[b] for unit in row.units for b in units[unit].below if b in spots]
        y = (read[0].centre if read else canvas.bottom + 40) - style.NECK[1] / 2
        for depth, column in enumerate(row.columns):
            for line, unit in enumerate(column):
                at = (left + depth * _NECK_PITCH, y + line * (style.NECK[1] + 12))
                spots[unit] = Spot(*at, *style.NECK)
        for unit in row.upwards:
            reader = next((u for u in row.units if unit in units[u].below), None)
            x = spots[reader].x if reader is not None else left
            spots[unit] = Spot(x, y + style.NECK[1] + 12, *style.NECK)
    for unit, number in row_of.items():
        for below in units[unit].below:
            if below in spots:
                _paint_link(canvas, spots[below], spots[unit], row_of.get(below), number)
    for unit in row_of:
        paint_unit(canvas, units[unit], spots[unit], facts)


def _paint_link(canvas: Canvas, start: Spot, end: Spot, row: int | None, own: int) -> None:
    """Draw an edge of the TCB: from the backbone, along a row, or up from a coarser map."""
    if row is None or start.centre == end.centre:
        points = [(start.right, start.centre), (end.x, end.centre)]
    elif row != own or start.x == end.x:
        points = [(start.middle, start.y), (end.middle, end.bottom)]
    elif start.y < end.y:
        points = [(start.middle, start.bottom), (start.middle, end.centre), (end.x, end.centre)]
    else:
        x = end.x + 24
        points = [(start.right, start.centre), (x, start.centre), (x, end.bottom)]
    canvas.arrow(points, style.SOURCE if row is None else style.LINE)


def paint_outputs(
    canvas: Canvas,
    view: NetView,
    units: Sequence[Unit],
    outputs: Sequence[int],
    heads: Sequence[Head],
    drawn: Mapping[str, Sequence[Spot]],
) -> None:
    """Draw the losses or detections below, and the lines that lead all predictions there."""
    right = max(spot.right for spots in drawn.values() for spot in spots)
    x = max(spot.x for spots in drawn.values() for spot in spots)
    y = canvas.bottom + 30
    spots: dict[int, Spot] = {}
    for unit in outputs:
        spots[unit] = Spot(x, y, style.HEAD[0], 46)
        y += 46 + 22
    for unit, spot in spots.items():
        node = view.layers[units[unit].layers[0]].node
        # Both losses of a RefineDet read the same priors; what they judge are predictions.
        makers = {view.makers[value] for i, value in enumerate(node.bottoms) if i != 2}
        for head in heads:
            if makers & head.layers and head.name in drawn:
                _paint_bus(canvas, drawn[head.name], spot, head.name == "ARM", right)
        for below in units[unit].below:
            if below in spots:
                start = spots[below]
                canvas.arrow([(start.middle, start.bottom), (spot.middle, spot.y)], style.LINE)
    for unit, spot in spots.items():
        _paint_output(canvas, view, units[unit], spot)


def _paint_bus(canvas: Canvas, starts: Sequence[Spot], end: Spot, left: bool, right: float) -> None:
    """Draw the line that collects predictions: on the left for the ARM, else on the right."""
    side = min(spot.x for spot in starts) - 10 if left else right + 12
    y = end.centre + (10 if left else 0)
    for spot in starts:
        canvas.arrow(
            [(spot.x if left else spot.right, spot.centre), (side, spot.centre)],
            style.LINE,
            head=False,
        )
    top = min(spot.centre for spot in starts)
    canvas.arrow([(side, top), (side, y), (end.x if left else end.right, y)], style.LINE)


def _paint_output(canvas: Canvas, view: NetView, unit: Unit, spot: Spot) -> None:
    layer = view.layers[unit.layers[0]]
    fill, stroke, _ = style.COLOURS["output"]
    canvas.box((spot.x, spot.y), (spot.width, spot.height), fill, stroke, kind="output")
    room = spot.width - 12
    canvas.text((spot.x + 6, spot.y + 14), unit.name, bold=True, width=room)
    canvas.text((spot.x + 6, spot.y + 27), layer.type, size=9, colour="#444", width=room)
    p = layer.node.layer
    counts = {
        "MultiBoxLoss": p.multibox_loss_param.num_classes,
        "DetectionOutput": p.detection_output_param.num_classes,
        "DetectionEvaluate": p.detection_evaluate_param.num_classes,
    }
    if classes := counts.get(layer.type):
        prior = layer.bottoms[2] if len(layer.bottoms) > 2 else None
        text = f"{classes} classes" + (f", {prior[-1] // 4:,} priors" if prior else "")
        canvas.text((spot.x + 6, spot.y + 39), text, size=9, colour="#444", width=room)
