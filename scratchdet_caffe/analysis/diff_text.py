"""A comparison as text for a terminal, and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from itertools import groupby

from scratchdet_caffe.analysis.diff import Comparison, Difference

_WIDEST = 44  # columns of a value before the next one steps out of line
_EXPLAINED = {
    "missing": "only on the left",
    "added": "only on the right",
    "renamed": "layers renamed (weights load by name)",
    "blob": "blobs renamed",
    "order": "layers in another place of the file (a .solverstate counts in that order)",
}


def comparison_text(comparison: Comparison) -> str:
    """Return the differences layer by layer (field, left, right), then lists of the other kinds."""
    lines = [f"left:   {comparison.left}", f"right:  {comparison.right}"]
    found = comparison.differences
    inside = [d for d in found if d.kind in ("field", "bottom", "type")]
    widths = _widths(inside)
    for (layer, kind), own in groupby(inside, key=lambda d: (d.layer, d.type)):
        lines += ["", f"{layer} ({kind})" if layer else "(itself)"]
        lines += [_line(difference, widths) for difference in own]
    for kind, explained in _EXPLAINED.items():
        own_kind = [d for d in found if d.kind == kind]
        if own_kind:
            lines += ["", f"{explained}: {len(own_kind)}", *map(_entry, own_kind)]
    return "\n".join([*lines, "", _verdict(comparison)])


def _widths(found: Sequence[Difference]) -> tuple[int, int]:
    names = [len(_what(d)) for d in found]
    values = [len(d.left) for d in found if len(d.left) <= _WIDEST]
    return max(names, default=0), max(values, default=0)


def _what(difference: Difference) -> str:
    return (
        f"bottom {difference.field}" if difference.kind == "bottom" else difference.field or "type"
    )


def _line(difference: Difference, widths: tuple[int, int]) -> str:
    what = _what(difference).ljust(widths[0])
    return f"  {what}  {difference.left.ljust(widths[1])} | {difference.right}"


def _entry(difference: Difference) -> str:
    if difference.kind in ("renamed", "blob"):
        maker = f" (of {difference.layer})" if difference.kind == "blob" else ""
        return f"  {difference.left} -> {difference.right}{maker}"
    what = f"{difference.layer} ({difference.type})" if difference.layer else "the file"
    places = f": {difference.left} | {difference.right}" if difference.kind == "order" else ""
    return f"  {what}{places}"


def _verdict(comparison: Comparison) -> str:
    count = len(comparison.differences)
    if not count:
        same = f"{comparison.layers} layers are the same" if comparison.layers else "all the same"
        return f"no difference: {same} (a field at its default counts as unset)"
    partners = f"; {comparison.layers} layers have a partner" if comparison.layers else ""
    return f"{count} difference{'s' if count > 1 else ''}{partners}"


def comparisons_json(comparisons: Sequence[Comparison]) -> str:
    """Return the comparisons as a JSON list."""
    return json.dumps([dataclasses.asdict(comparison) for comparison in comparisons], indent=1)


def comparisons_text(comparisons: Sequence[Comparison]) -> str:
    """Return all comparisons, one behind the other."""
    return "\n\n".join(map(comparison_text, comparisons))
