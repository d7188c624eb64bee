"""Where the boxes of the backbone go: ranks from top to bottom, columns from left to right.

Stages (one map size each) lie below one another. In a stage a box lies below those that it
reads. An edge past a rank keeps a lane of its own there, so that it crosses no box.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scratchdet_caffe.analysis.draw.units import Fold, Unit, drawn_for

#: A real box, or the place where the edge (source, target) passes a rank.
Node = int | tuple[int, int, int]


@dataclass(frozen=True)
class Place:
    """A rank, from 0 at the top, and a column, from 0 at the left."""

    rank: int
    column: int


@dataclass(frozen=True)
class Stage:
    """Boxes on one map, and the ranks that they take."""

    units: tuple[int, ...]
    first: int
    last: int


@dataclass(frozen=True)
class Layout:
    """The backbone, laid out.

    Attributes:
        places: Of each drawn unit.
        stages: From top to bottom.
        edges: (source, target) and the places where it passes ranks between.
        boxed: Columns that hold a box somewhere; others are lanes only.
    """

    places: Mapping[int, Place]
    stages: tuple[Stage, ...]
    edges: Mapping[tuple[int, int], tuple[Place, ...]]
    boxed: frozenset[int]

    @property
    def columns(self) -> int:
        lanes = [place.column for passed in self.edges.values() for place in passed]
        return 1 + max([*(place.column for place in self.places.values()), *lanes], default=0)


def lay_out(units: Sequence[Unit], chosen: Sequence[int], folds: Sequence[Fold]) -> Layout:
    """Lay out the ``chosen`` ones of ``units``, with the units inside ``folds`` drawn once."""

    members = [unit for unit in chosen if drawn_for(unit, folds) == unit]
    below: dict[int, list[int]] = {}
    for unit in members:
        sources = dict.fromkeys(drawn_for(source, folds) for source in units[unit].below)
        below[unit] = [source for source in sources if source in members]
    stages = _stages(units, members, below)
    ranks = _ranks(stages, below)
    edges = [(source, unit) for unit in members for source in below[unit]]
    columns = _columns(members, ranks, edges)
    places = {unit: Place(ranks[unit], columns[unit]) for unit in members}
    passed = {
        (a, b): tuple(Place(r, columns[a, b, r]) for r in range(ranks[a] + 1, ranks[b]))
        for a, b in edges
    }
    found = tuple(
        Stage(tuple(stage), min(ranks[u] for u in stage), max(ranks[u] for u in stage))
        for stage in stages
    )
    return Layout(places, found, passed, frozenset(place.column for place in places.values()))


def _stages(
    units: Sequence[Unit], members: Sequence[int], below: Mapping[int, Sequence[int]]
) -> list[list[int]]:
    """Put units of one map together, but never above what they read; losses come last."""
    stages: list[list[int]] = []
    outputs = [unit for unit in members if units[unit].group.part == "output"]
    latest: dict[str, int] = {}
    stage_of: dict[int, int] = {}
    for unit in members:
        if unit in outputs:
            continue
        key = str(units[unit].group)
        least = max((stage_of.get(source, 0) for source in below[unit]), default=0)
        if latest.get(key, -1) < least:
            latest[key] = len(stages)
            stages.append([])
        stage_of[unit] = latest[key]
        stages[latest[key]].append(unit)
    return [*stages, outputs] if outputs else stages


def _ranks(stages: Sequence[Sequence[int]], below: Mapping[int, Sequence[int]]) -> dict[int, int]:
    """Return the rank of every unit: below what it reads, and below the stages before."""
    ranks: dict[int, int] = {}
    base = 0
    for stage in stages:
        for unit in stage:
            ranks[unit] = max([base, *(ranks[b] + 1 for b in below[unit])])
        base = max(ranks[unit] for unit in stage) + 1
    return ranks


def _columns(
    members: Sequence[int], ranks: Mapping[int, int], edges: Sequence[tuple[int, int]]
) -> dict[Node, int]:
    """Choose the column of every unit and of every passing edge, rank by rank.

    Of those that follow one box, the one with the longest way before it stays in its column.
    """
    heights: dict[int, int] = {}
    for unit in sorted(members, key=lambda u: -ranks[u]):
        heights[unit] = max((heights[b] + 1 for a, b in edges if a == unit), default=0)
    above: dict[Node, list[Node]] = {unit: [] for unit in members}
    height: dict[Node, int] = {unit: heights[unit] for unit in members}
    order: dict[Node, int] = {unit: place for place, unit in enumerate(members)}
    rows: dict[int, list[Node]] = {}
    for unit in members:
        rows.setdefault(ranks[unit], []).append(unit)
    for a, b in edges:
        before: Node = a
        for rank in range(ranks[a] + 1, ranks[b]):
            lane = (a, b, rank)
            above[lane], height[lane], order[lane] = [before], heights[b], order[b]
            rows.setdefault(rank, []).append(lane)
            before = lane
        above[b].append(before)
    column: dict[Node, int] = {}
    for rank in sorted(rows):
        _place_row(rows[rank], above, height, order, column)
    return column


def _place_row(
    row: Sequence[Node],
    above: Mapping[Node, Sequence[Node]],
    height: Mapping[Node, int],
    order: Mapping[Node, int],
    column: dict[Node, int],
) -> None:
    def wanted(node: Node) -> int:
        return min((column[source] for source in above[node]), default=0)

    ranked = sorted(row, key=lambda node: (wanted(node), -height[node], order[node]))
    taken: set[int] = set()
    late = []
    for node in ranked:
        if wanted(node) in taken:
            late.append(node)
        else:
            column[node] = wanted(node)
            taken.add(wanted(node))
    for node in late:
        free = wanted(node)
        while free in taken:
            free += 1
        column[node] = free
        taken.add(free)
