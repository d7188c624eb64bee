"""Two small complete detectors of the reference: every blob, gradient and detection."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import scratchdet_caffe.pycaffe as caffe

WHOLE = Path(__file__).parents[3] / "shared" / "golden" / "wholenet"
NETS = sorted(path.parent.name for path in WHOLE.glob("*/case.json"))


def arrays_of(path: str) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return dict(arrays)


def close(got: np.ndarray, want: np.ndarray, share: float, what: str) -> None:
    """Allow ``share`` of the largest value, as the golden's README derives."""
    scale = max(float(np.abs(want).max(initial=0)), 1e-30)
    worst = float(np.abs(got - want).max(initial=0))
    assert worst <= share * scale, f"{what}: off by {worst / scale:.1e} of its largest value"


@pytest.mark.skipif(not NETS, reason="needs ../shared/golden/wholenet")
@pytest.mark.parametrize("name", NETS)
def test_train_pass_equals_the_reference(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(WHOLE / name)
    net = caffe.Net("train.prototxt", "init.caffemodel", caffe.TRAIN)
    inputs, blobs, params = map(arrays_of, ("input.npz", "blobs.npz", "params.npz"))
    for blob in inputs:
        net.blobs[blob].data[...] = inputs[blob]
    net.forward()
    net.backward()
    case = json.loads(Path("case.json").read_text())
    loss = sum(w * float(net.blobs[b].data.sum()) for b, w in net.blob_loss_weights.items() if w)
    assert loss == pytest.approx(case["loss_sum"], rel=1e-5)
    for key in blobs:
        blob, kind = key.rsplit("/", 1)
        if kind == "data":
            close(net.blobs[blob].data, blobs[key], 1e-4, key)
        else:
            close(net.blobs[blob].diff, blobs[key], 3e-4, key)
    for key in params:
        layer, index, kind = key.rsplit("/", 2)
        blob = net.params[layer][int(index)]
        close(blob.diff if kind == "diff" else blob.data, params[key], 3e-4, key)


@pytest.mark.skipif(not NETS, reason="needs ../shared/golden/wholenet")
@pytest.mark.parametrize("name", NETS)
def test_detections_equal_the_reference(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(WHOLE / name)
    net = caffe.Net("test.prototxt", "init.caffemodel", caffe.TEST)
    golden = arrays_of("test.npz")
    inputs = arrays_of("input.npz")
    for blob in net.inputs:
        net.blobs[blob].data[...] = inputs[blob]
    net.forward()
    for key, want in golden.items():
        blob = key.removesuffix("/data")
        if blob == "detection_out":
            got = net.blobs[blob].data
            np.testing.assert_array_equal(got[..., :2], want[..., :2])
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-4)
        elif blob in net.blobs:
            close(net.blobs[blob].data, want, 1e-4, key)
