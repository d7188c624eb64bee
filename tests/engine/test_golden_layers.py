"""Every single-layer case of the reference engine, replayed through the pycaffe face."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

LAYERS = Path(__file__).parents[3] / "shared" / "golden" / "layers"
CASES = sorted(path.parent.name for path in LAYERS.glob("*/meta.json"))


@pytest.mark.skipif(not CASES, reason="needs ../shared/golden/layers")
@pytest.mark.parametrize("case", CASES)
def test_layer_equals_the_reference(
    case: str, replay: Callable, compared: Callable, record_property: Callable[[str, object], None]
) -> None:
    meta, net, golden = replay(LAYERS / case)
    record_property("golden layer", meta["layer"])
    for key, got, want in compared(net, golden):
        is_diff = "_diff/" in key
        tolerance = meta["tolerance"]["backward" if is_diff else "forward"]
        assert got.size == want.size, f"{key}: {got.shape} instead of {want.shape}"
        np.testing.assert_allclose(
            got.reshape(want.shape), want, err_msg=key, equal_nan=True, **tolerance
        )
    want_loss = np.atleast_1d(meta["net_loss"])[-1]
    loss = sum(
        weight * float(net.blobs[blob].data.sum())
        for blob, weight in net.blob_loss_weights.items()
        if weight
    )
    assert loss == pytest.approx(want_loss, rel=1e-4, abs=1e-5, nan_ok=True)
