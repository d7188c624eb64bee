"""When the linter takes a PriorBox's step to suit its map: roundings up are no fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from scratchdet_caffe.analysis.lint import lint


@pytest.mark.parametrize(
    ("side", "cells", "step", "fits"),
    [
        (300, 38, 8, True),
        (300, 10, 32, True),  # SSD300: three roundings up
        (300, 5, 64, True),
        (300, 3, 100, True),
        (300, 1, 300, True),
        (300, 5, 100, False),  # the release
        (300, 5, 300, False),
        (300, 3, 300, False),
        (512, 2, 256, True),
        (320, 40, 8, True),
        (320, 40, 16, False),
        (304, 19, 16, True),
        (300, 75, 8, False),
    ],
)
def test_steps_fit_maps_up_to_rounding(
    side: int, cells: int, step: float, fits: bool, tmp_path: Path
) -> None:
    (tmp_path / "net.prototxt").write_text(
        f'input: "m" input_shape {{ dim: 1 dim: 1 dim: {cells} dim: {cells} }}'
        f'input: "x" input_shape {{ dim: 1 dim: 3 dim: {side} dim: {side} }}'
        'layer { name: "p" type: "PriorBox" bottom: "m" bottom: "x" top: "p"'
        f" prior_box_param {{ min_size: 30 step: {step} }} }}"
    )
    rules = [finding.rule for finding in lint(tmp_path / "net.prototxt")]
    assert rules == ([] if fits else ["prior-step"])
