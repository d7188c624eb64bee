"""Prior boxes: how many, where, and equal to the reference's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text, read_prototxt
from scratchdet_caffe.engine.detection.priors import prior_boxes
from scratchdet_caffe.engine.shapes.detection import aspect_ratios, priors_per_cell


def param_of(text: str) -> pb.PriorBoxParameter:
    return parse_text(text, pb.PriorBoxParameter)


def test_equal_to_the_reference_in_every_bit(shared: Path) -> None:
    folders = sorted((shared / "golden" / "layers").glob("priorbox-*"))
    for folder in folders:
        net = read_prototxt(folder / "net.prototxt", pb.NetParameter)
        golden = np.load(folder / "data.npz")
        got = prior_boxes(
            net.layer[-1].prior_box_param,
            golden["bottom/f"].shape[2:],
            golden["bottom/img"].shape[2:],
        )
        np.testing.assert_array_equal(got, golden["top/y"], err_msg=folder.name)
    assert folders


@given(
    sizes=st.lists(st.integers(1, 200), min_size=1, max_size=3),
    with_max=st.booleans(),
    ratios=st.lists(st.sampled_from([1, 2, 3, 0.5, 1 / 3]), max_size=4),
    flip=st.booleans(),
    cells=st.tuples(st.integers(1, 4), st.integers(1, 4)),
)
def test_as_many_boxes_as_promised_around_the_centres(
    sizes: list[int], with_max: bool, ratios: list[float], flip: bool, cells: tuple[int, int]
) -> None:
    param = pb.PriorBoxParameter(min_size=sizes, aspect_ratio=ratios, flip=flip)
    if with_max:
        param.max_size.extend(size + 10 for size in sizes)
    boxes, variances = prior_boxes(param, cells, (100, 100))[0].view(2, *cells, -1, 4)
    assert boxes.shape[2] == priors_per_cell(param)
    assert (variances == np.float32(0.1)).all()
    centers = (boxes[..., :2] + boxes[..., 2:]) / 2
    torch.testing.assert_close(centers, centers[:, :, :1].expand_as(centers))
    torch.testing.assert_close(
        centers[0, 0, 0], torch.tensor([0.5 / cells[1], 0.5 / cells[0]]), rtol=0, atol=1e-5
    )


def test_a_ratio_is_dropped_if_it_is_the_flip_of_an_earlier_one() -> None:
    assert aspect_ratios(param_of("aspect_ratio: 2 aspect_ratio: 0.5")) == [1, 2, 0.5]
    assert aspect_ratios(param_of("aspect_ratio: 2 flip: false")) == [1, 2]
    assert priors_per_cell(param_of("min_size: 4 max_size: 8 aspect_ratio: 2 aspect_ratio: 3")) == 6


@pytest.mark.parametrize(("clip", "low", "high"), [("false", -0.5, 1.5), ("true", 0.0, 1.0)])
def test_clip_cuts_at_the_picture(clip: str, low: float, high: float) -> None:
    boxes = prior_boxes(param_of(f"min_size: 20 clip: {clip}"), (1, 1), (10, 10))[0, 0]
    assert boxes.tolist() == [low, low, high, high]
