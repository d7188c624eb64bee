"""A summary as tables for a terminal, and as JSON."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any

from scratchdet_caffe.analysis.receptive import Field
from scratchdet_caffe.analysis.summary import LayerRow, SourceRow, Summary
from scratchdet_caffe.cli import text_table
from scratchdet_caffe.engine.shapes import Shape

CONVENTION = (
    "FLOPs of one forward pass for one image; a multiply-add counts as two. Fields and strides "
    "in pixels of the input; all: the whole input. -: no such thing; ?: not known."
)
_UNITS = (("G", 1e9), ("M", 1e6), ("k", 1e3))


def summary_text(summary: Summary) -> str:
    """Return the tables: layers, sources if there are any, stages, and the totals."""
    parts = [_layer_table(summary)]
    if summary.sources:
        parts.append(_source_table(summary))
    parts += [_stage_table(summary), "\n".join([*_totals(summary), CONVENTION])]
    return "\n\n".join(parts)


def _layer_table(summary: Summary) -> str:
    head = ("layer", "type", "top", "parameters", "MFLOPs", "field", "stride")
    return text_table(head, map(_layer_cells, summary.layers), left=3)


def _layer_cells(row: LayerRow) -> tuple[str, ...]:
    tops = [shape_text(shape) for shape in row.tops]
    if len(tops) > 1 and len(set(tops)) == 1:
        tops = [f"{len(tops)} of {tops[0]}"]
    learned = row.parameters
    return (
        row.name,
        row.type,
        ", ".join(tops) or "-",
        "?" if learned is None else f"{learned:,}" if learned else "-",
        "?" if row.flops is None else f"{row.flops / 1e6:,.2f}" if row.flops else "-",
        _size(row.field),
        _stride(row.field),
    )


def _source_table(summary: Summary) -> str:
    head = (
        "source",
        "head",
        "map",
        "channels",
        "field",
        "stride",
        "step",
        "prior sizes",
        "per cell",
        "priors",
    )
    return text_table(head, map(_source_cells, summary.sources), left=2)


def _source_cells(row: SourceRow) -> tuple[str, ...]:
    shape = row.shape
    return (
        row.blob,
        row.head,
        shape_text(shape[2:]) if shape else "?",
        str(shape[1]) if shape else "?",
        _size(row.field),
        _stride(row.field),
        f"{row.step:g}" if row.step else "-",
        " ".join(f"{size:g}" for size in row.sizes),
        "?" if row.priors_per_cell is None else str(row.priors_per_cell),
        "?" if row.priors is None else f"{row.priors:,}",
    )


def _stage_table(summary: Summary) -> str:
    total = summary.total
    rows = [
        (
            name,
            stage.layers,
            f"{stage.parameters:,}",
            scaled(stage.flops),
            f"{100 * stage.flops / total.flops if total.flops else 0:.1f} %",
        )
        for name, stage in summary.stages.items()
    ]
    return text_table(("stage", "layers", "parameters", "FLOPs", "share"), rows)


def _totals(summary: Summary) -> list[str]:
    total = summary.total
    batch = f", batch {summary.batch}" if summary.batch > 1 else ""
    statistics = f" (and {total.statistics:,} statistics of BatchNorm)" if total.statistics else ""
    priors = sum(row.priors or 0 for row in summary.sources if row.head != "ODM")
    lines = [
        f"{summary.name or summary.source}, phase {summary.phase}{batch}: {total.layers} layers, "
        f"{total.parameters:,} parameters{statistics}, {scaled(total.flops)}FLOPs "
        f"({scaled(total.multiply_adds)} multiply-adds in convolutions and inner products)"
        + (f", {priors:,} priors" if priors else "")
    ]
    return lines + [f"not in these sums, from here on: {reason}" for reason in summary.unknown]


def scaled(count: float) -> str:
    """Return ``75.62 G``, ``4.61 M`` or ``0``."""
    if not count:
        return "0"
    unit, size = next((u for u in _UNITS if count >= u[1]), _UNITS[-1])
    return f"{count / size:,.2f} {unit}"


def shape_text(shape: Shape | None) -> str:
    """Return ``1x64x38x38``, ``scalar`` or ``?``."""
    if shape is None:
        return "?"
    return "x".join(map(str, shape)) or "scalar"


def _size(field: Field | None) -> str:
    if field is None:
        return "-"
    return _both(*("all" if math.isinf(side) else f"{side:.0f}" for side in field.size))


def _stride(field: Field | None) -> str:
    if field is None or math.isinf(field.size[0]):
        return "-"
    return _both(*(f"{float(side):g}" for side in field.stride))


def _both(high: str, wide: str) -> str:
    return high if high == wide else f"{high}x{wide}"


def summary_json(summary: Summary) -> str:
    """Return the summary as JSON: ``layers``, ``sources``, ``stages``, ``total`` and more."""
    record = {
        **_plain(summary),
        "stages": {name: _plain(stage) for name, stage in summary.stages.items()},
        "total": _plain(summary.total),
    }
    return json.dumps(record, indent=1)


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON knows it: an infinite field is null, groups are their names."""
    if isinstance(value, Fraction):
        return float(value)
    if isinstance(value, float) and math.isinf(value):
        return None
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {
            name: str(own) if name == "group" else _plain(own)
            for name, own in ((name, getattr(value, name)) for name in value.__dataclass_fields__)
        }
    return value
