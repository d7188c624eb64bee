"""Claims hold only if no seed contradicts them."""

from __future__ import annotations

import math

import pytest

from scratchdet_caffe.experiment.paper_tables import Claim
from scratchdet_caffe.study.claims import judge

LOST = -math.inf
VALUES = {
    "a": {"map": {1: 50.0, 2: 52.0}, "aps": {1: 30.0, 2: 33.0}, "apl": {1: 60.0, 2: 60.0}},
    "b": {"map": {1: 40.0, 2: 51.0}, "aps": {1: 10.0, 2: 11.0}, "apl": {1: 55.0, 2: 56.0}},
    "c": {"map": {1: LOST, 2: LOST}},
    "d": {"map": {1: LOST, 2: 49.0}},
    "e": {},
}


@pytest.mark.parametrize(
    ("claim", "holds"),
    [
        (Claim("", ("a",), ("b",)), False),  # 50 is not above 51
        (Claim("", ("a:aps",), ("b:aps",)), True),
        (Claim("", ("a",), ("c",)), True),
        (Claim("", ("d",), ("c",)), False),  # one seed of d diverged, too
        (Claim("", diverge=("c",)), True),
        (Claim("", diverge=("c", "d")), False),
        (Claim("", ("a - b:aps",), ("a - b:apl",)), True),  # 20, 22 above 5, 4
        (Claim("", ("a - b:apl",), ("a - b:aps",)), False),
        (Claim("", ("a",), ("d",), ("c",)), True),
        (Claim("", ("a",), ("e",)), None),
        (Claim("", ("nobody",), ("a",)), None),
        (Claim("", ("c - c",), ("a",)), None),  # what diverged has no gain
    ],
)
def test_every_seed_counts(claim: Claim, holds: bool | None) -> None:
    assert judge(claim, VALUES, "map")["holds"] is holds


def test_the_ranges_are_told() -> None:
    told = judge(Claim("t", ("a",), ("b", "c"), ("d",)), VALUES, "map")
    assert told["better"] == [{"side": "a", "low": 50.0, "high": 52.0}]
    assert told["worse"][1] == {"side": "c", "low": None, "high": None}
    assert told["diverge"] == [{"row": "d", "diverged": 1, "of": 2}]
    assert judge(Claim("t", ("e",)), VALUES, "map")["missing"] == "e:map"
