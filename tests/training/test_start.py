"""Where a run starts."""

from __future__ import annotations

from typing import Any

import pytest

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.training.start import Start, choose_start


def test_resume_begins_with_the_weights_until_there_is_a_snapshot(make: Any) -> None:
    assert choose_start("snap", weights="a,b", resume=True) == Start(None, ("a", "b"))
    solver, _ = make(max_iter=2)
    solver.step(2)
    solver.snapshot()
    assert choose_start("snap", weights="a,b", resume=True) == Start("snap_iter_2.solverstate")


def test_a_snapshot_named_leaves_no_other_way() -> None:
    for other in ({"weights": "a"}, {"resume": True}):
        with pytest.raises(UserError, match="give only one of --snapshot"):
            choose_start("snap", snapshot="x.solverstate", **other)  # type: ignore[arg-type]
