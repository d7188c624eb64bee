"""Views of multi-scale testing: RefineDet's for its two sizes, and the rule for others."""

from __future__ import annotations

import numpy as np
import pytest

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.scoring.views import View, plan_views

VOC = [(500, 375), (375, 500), (500, 333)]
COCO = [(640, 480), (480, 640), (640, 427)]
INF = np.inf


def anything(height: int, width: int) -> bool:
    return True


def test_the_list_for_320_is_refinedets() -> None:
    views = plan_views((320, 320), VOC, anything)
    sizes = [(view.height, view.width, view.above, view.below) for view in views.lying]
    assert sizes == [
        (320, 320, 0, INF), (192, 320, 0, INF), (192, 192, 32, INF), (384, 384, 0, 160),
        (448, 448, 0, 128), (512, 512, 0, 96), (576, 576, 0, 64), (704, 704, 0, 32),
    ]  # fmt: skip
    # Pictures that are not wider than high are squeezed the other way.
    assert (views.of(400, 400)[1].height, views.of(400, 400)[1].width) == (320, 192)
    assert views.of(300, 400) == views.lying
    coco = plan_views((320, 320), COCO, anything, coco=True)
    assert View(640, 640, 0, 48) in coco.lying
    assert len(coco.lying) == 9


def test_the_list_for_512_is_refinedets() -> None:
    views = plan_views((512, 512), COCO, anything, coco=True)
    sizes = [(view.height, view.width, view.below) for view in views.lying]
    assert sizes == [
        (512, 512, INF), (384, 512, INF), (256, 256, INF), (384, 384, INF), (640, 640, 224),
        (768, 768, 192), (896, 896, 128), (1024, 1024, 96), (1152, 1152, 64),
    ]  # fmt: skip
    assert len(plan_views((512, 512), VOC, anything).lying) == 6


def test_other_pictures_and_nets_scale_the_limits() -> None:
    views = plan_views((64, 64), [(64, 64)] * 3, anything)
    assert views.lying[3].below == pytest.approx(160 * 64 / 500)
    assert [view.width for view in views.lying] == [64, 64, 38, 77, 90, 102, 115, 141]
    assert plan_views((300, 300), VOC, anything, name="512").lying[5].width == 525


def test_sizes_are_those_nearest_that_the_net_takes() -> None:
    views = plan_views((300, 300), VOC, lambda h, w: h % 20 == 0 and w % 20 == 0)
    assert [view.width for view in views.lying[2:]] == [180, 360, 420, 480, 540, 660]
    # None below 290: the shrunk views are left out.
    large = plan_views((300, 300), VOC, lambda h, w: min(h, w) >= 290)
    assert large.left_out == [0.6, 0.6]
    assert [view.width for view in large.lying] == [300, 360, 420, 480, 540, 660]
    # Multiples of 64 only: shrunk views of a net for 64 pixels would repeat it.
    steps = plan_views((64, 64), VOC, lambda h, w: h % 64 == 0 and w % 64 == 0)
    assert steps.left_out[:2] == [0.6, 0.6]
    with pytest.raises(UserError, match="cannot take the 300x200 pixels"):
        plan_views((200, 300), VOC, lambda h, w: False)


def test_limits_go_by_the_sides_of_a_box() -> None:
    boxes = np.array([[1, 1, 10, 40], [1, 1, 32, 32], [1, 1, 33, 5]], float)
    assert View(9, 9, above=32).keeps(boxes).tolist() == [True, False, True]
    assert View(9, 9, below=32).keeps(boxes).tolist() == [True, False, True]
    assert View(9, 9, below=33).keeps(boxes).tolist() == [True, True, True]
    assert View(9, 9).keeps(boxes).all()
