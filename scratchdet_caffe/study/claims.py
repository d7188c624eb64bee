"""Whether what was measured supports what the paper claims."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from scratchdet_caffe.experiment.paper_tables import Claim

Values = Mapping[int, float]
"""By seed; -inf where the training diverged."""


class Undecided(Exception):
    """A cell has not been run."""


def judge(claim: Claim, values: Mapping[str, Mapping[str, Values]], first: str) -> dict[str, Any]:
    """Return whether ``claim`` holds, and the ranges that say so.

    Args:
        claim: The claim.
        values: By row, measure and seed, of all cells that have ended.
        first: The measure of sides that name none.

    Returns:
        ``text``; ``holds``, None where a cell is missing; ``better`` and ``worse``, each side
        with its lowest and highest value over the seeds; ``diverge``, by row how many of how
        many seeds did.
    """
    judged: dict[str, Any] = {"text": claim.text, "holds": None}
    try:
        better, worse = (
            [_range(side, values, first) for side in sides] for sides in (claim.better, claim.worse)
        )
        diverged = [_diverged(row, values, first) for row in claim.diverge]
    except Undecided as missing:
        return {**judged, "missing": str(missing)}
    holds = all(count == of for _, count, of in diverged)
    if better or worse:
        holds = holds and min(r["low"] for r in better) > max(r["high"] for r in worse)
    return {
        **judged,
        "holds": holds,
        "better": [_shown(side) for side in better],
        "worse": [_shown(side) for side in worse],
        "diverge": [{"row": row, "diverged": count, "of": of} for row, count, of in diverged],
    }


def _range(side: str, values: Mapping[str, Mapping[str, Values]], first: str) -> dict[str, Any]:
    rows, _, measure = side.partition(":")
    row, _, less = rows.partition(" - ")
    of_row = _values(row, measure or first, values)
    if not less:
        found = list(of_row.values())
    else:
        of_less = _values(less, measure or first, values)
        found = [of_row[seed] - of_less[seed] for seed in of_row if seed in of_less]
    if any(math.isnan(value) for value in found) or not found:
        raise Undecided(side)  # the difference of two that diverged
    return {"side": side, "low": min(found), "high": max(found)}


def _values(row: str, measure: str, values: Mapping[str, Mapping[str, Values]]) -> Values:
    found = values.get(row, {}).get(measure, {})
    if not found:
        raise Undecided(f"{row}:{measure}")
    return found


def _diverged(
    row: str, values: Mapping[str, Mapping[str, Values]], first: str
) -> tuple[str, int, int]:
    found = _values(row, first, values)
    return row, sum(value == -math.inf for value in found.values()), len(found)


def _shown(side: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no infinity: None stands for a training that diverged."""
    return {key: None if value == -math.inf else value for key, value in side.items()}
