"""Replays the reference's layer cases."""

from __future__ import annotations

import json
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
