"""Every single-layer case of the reference engine, replayed through the pycaffe face."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import scratchdet_caffe.pycaffe as caffe

LAYERS = Path(__file__).parents[3] / "shared" / "golden" / "layers"
CASES = sorted(path.parent.name for path in LAYERS.glob("*/meta.json"))


def close(got: np.ndarray, want: np.ndarray, tolerance: dict[str, float], what: str) -> None:
    assert got.size == want.size, f"{what}: {got.shape} instead of {want.shape}"
    np.testing.assert_allclose(
        got.reshape(want.shape), want, err_msg=what, equal_nan=True, **tolerance
    )


@pytest.mark.skipif(not CASES, reason="needs ../shared/golden/layers")
@pytest.mark.parametrize("case", CASES)
def test_layer_equals_the_reference(
    case: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    folder = LAYERS / case
    meta = json.loads((folder / "meta.json").read_text())
    record_property("golden layer", meta["layer"])
    monkeypatch.chdir(folder)
    with np.load("data.npz") as arrays:
        golden = dict(arrays)
    net = caffe.Net("net.prototxt", getattr(caffe, meta["phase"]))
    for key, value in golden.items():
        if key.startswith("param/"):
            _, layer, index = key.split("/")
            net.params[layer][int(index)].data[...] = value
    losses = {blob for blob, weight in net.blob_loss_weights.items() if weight}

    def backward() -> None:
        net.clear_param_diffs()
        for blob in net.outputs:
            if blob not in losses and f"top_diff/{blob}" in golden:
                net.blobs[blob].diff[...] = golden[f"top_diff/{blob}"]
        net.backward()

    for step in range(meta["forwards"]):
        for blob, key in meta["feed"].items():
            sequence = golden.get(key.replace("bottom/", "bottom_seq/"))
            net.blobs[blob].data[...] = golden[key] if sequence is None else sequence[step]
        net.forward()
        if meta["backward"] and meta.get("backward_each_step") and step + 1 < meta["forwards"]:
            backward()
    if meta["backward"]:
        backward()

    forward, reverse = meta["tolerance"]["forward"], meta["tolerance"]["backward"]
    for key, value in golden.items():
        kind, name, *index = key.split("/")
        if kind == "top":
            close(net.blobs[name].data, value, forward, key)
        elif kind == "param_after":
            close(net.params[name][int(index[0])].data, value, forward, key)
        elif kind == "bottom_diff":
            close(net.blobs[name].diff, value, reverse, key)
        elif kind == "param_diff":
            close(net.params[name][int(index[0])].diff, value, reverse, key)
    want_loss = np.atleast_1d(meta["net_loss"])[-1]
    loss = sum(
        weight * float(net.blobs[blob].data.sum())
        for blob, weight in net.blob_loss_weights.items()
        if weight
    )
    assert loss == pytest.approx(want_loss, rel=1e-4, abs=1e-5, nan_ok=True)
