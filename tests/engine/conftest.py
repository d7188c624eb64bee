"""Replays the reference's layer cases, and says at the end how many, by layer type."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchdet_caffe.pycaffe as caffe

#: What a case is about, the net after its passes, the recorded arrays.
Replayed = tuple[dict[str, Any], caffe.Net, dict[str, np.ndarray]]


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Replayed]:
    """Run the case in a folder of golden/layers, as its README asks."""

    def run(folder: Path) -> Replayed:
        meta = json.loads((folder / "meta.json").read_text())
        monkeypatch.chdir(folder)
        with np.load("data.npz") as arrays:
            golden = dict(arrays)
        net = caffe.Net("net.prototxt", getattr(caffe, meta["phase"]))
        for key, value in golden.items():
            if key.startswith("param/"):
                _, layer, index = key.split("/")
                net.params[layer][int(index)].data[...] = value
        for step in range(meta["forwards"]):
            for blob, key in meta["feed"].items():
                sequence = golden.get(key.replace("bottom/", "bottom_seq/"))
                net.blobs[blob].data[...] = golden[key] if sequence is None else sequence[step]
            net.forward()
            if meta["backward"] and (
                meta.get("backward_each_step") or step + 1 == meta["forwards"]
            ):
                _backward(net, golden)
        return meta, net, golden

    return run


def _backward(net: caffe.Net, golden: dict[str, np.ndarray]) -> None:
    net.clear_param_diffs()
    for blob in net.outputs:
        if not net.blob_loss_weights[blob] and f"top_diff/{blob}" in golden:
            net.blobs[blob].diff[...] = golden[f"top_diff/{blob}"]
    net.backward()


def compared(net: caffe.Net, golden: dict[str, np.ndarray]) -> Iterator[tuple[str, Any, Any]]:
    """Yield what is to be compared: its key, ours, the reference's."""
    for key, value in golden.items():
        kind, name, *index = key.split("/")
        if kind == "top":
            yield key, net.blobs[name].data, value
        elif kind == "param_after":
            yield key, net.params[name][int(index[0])].data, value
        elif kind == "bottom_diff":
            yield key, net.blobs[name].diff, value
        elif kind == "param_diff":
            yield key, net.params[name][int(index[0])].diff, value


@pytest.fixture(name="compared")
def _compared() -> Callable[..., Iterator[tuple[str, Any, Any]]]:
    return compared


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counts = {
        outcome: Counter(
            value
            for report in terminalreporter.stats.get(outcome, [])
            for name, value in getattr(report, "user_properties", ())
            if name == "golden layer"
        )
        for outcome in ("passed", "failed", "skipped")
    }
    if not any(counts.values()):
        return
    totals = ", ".join(f"{sum(count.values())} {outcome}" for outcome, count in counts.items())
    terminalreporter.section(f"golden layer cases: {totals}", "-")
    for outcome, count in counts.items():
        if count:
            listed = ", ".join(f"{layer} {number}" for layer, number in sorted(count.items()))
            terminalreporter.write_line(f"{outcome}: {listed}")
