"""AnnotatedData in TEST phase against the reference's blobs (golden/data/layer)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_prototxt
from scratchdet_caffe.data import Batches
from scratchdet_caffe.errors import UserError

# Interpolations that another OpenCV computes a little differently (grey levels); the rest exactly.
GREY_LEVELS = {"warp_cubic": 1, "large_pad_default_cubic": 1}
STOPPED = "gray_db_native"
CASES = [
    "gray_db_force_gray",
    "json_labels",
    "large_pad_constant",
    "large_pad_default_cubic",
    "large_pad_mirrored",
    "large_pad_nearest",
    "no_resize_native",
    "raw_mean_scale",
    "raw_no_transform",
    "small_area_scaled_boxes",
    "small_linear",
    "txt_labels",
    "warp_area",
    "warp_center_crop",
    "warp_center_crop_emit",
    "warp_center_crop_emit_overlap",
    "warp_cubic",
    "warp_force_gray",
    "warp_lanczos4",
    "warp_linear",
    "warp_native_channels",
    "warp_nearest",
    "warp_no_interp_given",
    "warp_one_mean_scale",
]


@pytest.fixture
def golden(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(shared / "golden/data")  # the sources in the prototxts are relative to it
    return shared / "golden/data/layer"


def layer_of(path: Path) -> pb.LayerParameter:
    return read_prototxt(path, pb.NetParameter).layer[0]


def test_every_case_is_run(golden: Path) -> None:
    assert set(json.loads((golden / "index.json").read_text())) == {*CASES, STOPPED}


@pytest.mark.parametrize("case", CASES)
def test_blobs_equal_the_reference(case: str, golden: Path) -> None:
    layer, expected = layer_of(golden / f"{case}.prototxt"), np.load(golden / f"{case}.npz")
    forwards = sum(name.startswith("data_") for name in expected)
    scale = layer.transform_param.scale
    atol = GREY_LEVELS.get(case, 0) * scale + 1e-4
    with Batches(layer, pb.TEST, seed=0, threads=1) as batches:
        for number in range(forwards):
            assert batches.data_shape == expected[f"data_{number}"].shape
            data, label = batches.next()
            np.testing.assert_allclose(data, expected[f"data_{number}"], rtol=0, atol=atol)
            np.testing.assert_allclose(label, expected[f"label_{number}"], rtol=0, atol=1e-6)


def test_mixed_channels_without_force_color_are_a_sentence(golden: Path) -> None:
    # The reference aborts here.
    batches = Batches(layer_of(golden / f"{STOPPED}.prototxt"), pb.TEST, seed=0)
    with pytest.raises(UserError, match=r"record '0000000.*set force_color"):
        batches.next()
