"""Nets that others rendered with upstream's scripts and published: gen renders the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from scratchdet_caffe.analysis.diff import compare

ROOT = Path(__file__).resolve().parents[2]
REFINEDET = "871864580+RefineDet/models/VGGNet/VOC0712/refinedet_vgg16_320x320"
REFINEDET_OURS = "vgg16/voc0712/refinedet_320"
# Every difference, with its reason: a net's name and paths are those of our folders, and whoever
# scored SSD300 left its output folder out.
PAIRS = {
    f"{REFINEDET}/train.prototxt": (f"{REFINEDET_OURS}/train.prototxt", {"name"}),
    f"{REFINEDET}/test.prototxt": (f"{REFINEDET_OURS}/test.prototxt", {"name"}),
    f"{REFINEDET}/deploy.prototxt": (f"{REFINEDET_OURS}/deploy.prototxt", {"name"}),
    f"{REFINEDET}/solver.prototxt": (
        f"{REFINEDET_OURS}/solver.prototxt",
        {"train_net", "snapshot_prefix"},
    ),
    "shangzw12+ssd/models/VGGNet/VOC0712/SSD_300x300/train.prototxt": (
        "vgg16/voc0712/ssd_300/train.prototxt",
        {"name"},
    ),
    "shangzw12+ssd/jobs/VGGNet/VOC0712/SSD_300x300_score/test.prototxt": (
        "vgg16/voc0712/ssd_300/test.prototxt",
        {"name", "detection_output_param.save_output_param.output_directory"},
    ),
}


@pytest.mark.parametrize("theirs", PAIRS)
def test_only_own_names_and_paths_differ(theirs: str, shared: Path) -> None:
    ours, fields = PAIRS[theirs]
    (found,) = compare(shared / "zoo/prototxt" / theirs, ROOT / "models" / ours)
    assert {difference.field for difference in found.differences} == fields
    assert {difference.kind for difference in found.differences} == {"field"}
