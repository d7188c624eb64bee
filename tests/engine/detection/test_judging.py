"""Ground truth by image, and which detections are right."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.engine.detection.evaluate import Rules, evaluate
from scratchdet_caffe.engine.detection.groundtruth import ground_truth
from scratchdet_caffe.engine.detection.pixels import pixel_overlap, read_sizes, to_pixels
from scratchdet_caffe.errors import UserError

RULES = Rules(num_classes=3, background=0, overlap_threshold=0.5, use_difficult=False)


def truth_row(image: int, label: int, box: list[float], difficult: int = 0) -> list[float]:
    return [image, label, 0, *box, difficult]


LEFT, RIGHT = [0.0, 0.0, 0.4, 0.4], [0.6, 0.6, 1.0, 1.0]


def test_ground_truth_is_sorted_by_image_whatever_the_order_of_rows() -> None:
    rows = torch.tensor(
        [
            truth_row(2, 1, RIGHT),
            truth_row(-1, -1, LEFT),
            truth_row(0, 2, LEFT),
            truth_row(2, 2, LEFT, difficult=1),
        ]
    )
    truth = ground_truth(rows[None, None], 3, 3, 0, use_difficult=True)
    assert truth.labels.tolist() == [[2, -1], [-1, -1], [1, 2]]
    assert truth.present.tolist() == [True, False, True]
    torch.testing.assert_close(truth.boxes[2], torch.tensor([RIGHT, LEFT]))
    assert ground_truth(rows, 3, 3, 0, use_difficult=False).labels.tolist() == [[2], [-1], [1]]
    assert ground_truth(rows[1:2], 2, 3, 0, use_difficult=True).labels.tolist() == [[-1], [-1]]


@pytest.mark.parametrize(
    ("label", "words"), [(0, "background"), (3, "num_classes is 3"), (-2, "-2")]
)
def test_impossible_labels_are_named(label: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ground_truth(torch.tensor([truth_row(0, label, LEFT)]), 1, 3, 0, use_difficult=True)


def judged(detected: list[list[float]], truth: list[list[float]]) -> list[list[float]]:
    rows = evaluate(
        torch.tensor(detected).reshape(-1, 7), torch.tensor(truth).reshape(-1, 8), RULES
    )
    return [[round(value, 3) for value in row] for row in rows.tolist()]


def test_the_first_of_two_hits_is_right_the_second_is_wrong() -> None:
    rows = judged(
        [[0, 1, 0.5, *LEFT], [0, 1, 0.9, *LEFT], [0, 1, 0.7, *RIGHT]], [truth_row(0, 1, LEFT)]
    )
    assert rows[:2] == [[-1, 1, 1, -1, -1], [-1, 2, 0, -1, -1]]
    assert rows[2:] == [[0, 1, 0.9, 1, 0], [0, 1, 0.7, 0, 1], [0, 1, 0.5, 0, 1]]


def test_a_hit_on_a_difficult_object_is_neither_right_nor_wrong() -> None:
    rows = judged([[0, 1, 0.5, *LEFT]], [truth_row(0, 1, LEFT, difficult=1)])
    assert rows == [[-1, 1, 0, -1, -1], [-1, 2, 0, -1, -1], [0, 1, 0.5, 0, 0]]


def test_without_anything_to_hit_all_is_wrong_and_in_the_given_order() -> None:
    rows = judged([[1, 2, 0.1, *LEFT], [1, 2, 0.9, *LEFT], [0, 2, 0.3, *LEFT]], [])
    assert rows[2:] == [[0, 2, 0.3, 0, 1], [1, 2, 0.1, 0, 1], [1, 2, 0.9, 0, 1]]


def test_no_detections_leave_the_counts() -> None:
    assert judged([[0, -1, -1, -1, -1, -1, -1]], [truth_row(0, 2, LEFT)]) == [
        [-1, 1, 0, -1, -1],
        [-1, 2, 1, -1, -1],
    ]


def resize(text: str) -> pb.ResizeParameter:
    return parse_text(text, pb.ResizeParameter)


def test_padding_is_taken_off_again() -> None:
    # A picture twice as wide as high fills the middle half of a square canvas.
    padded = resize("resize_mode: FIT_LARGE_SIZE_AND_PAD height: 300 width: 300")
    box = torch.tensor([[0.5, 0.25, 1.0, 0.5], [0.0, 0.0, 1.0, 1.0]])
    size = torch.tensor([100.0, 200.0])
    assert to_pixels(box, size, padded).tolist() == [[100, 0, 200, 50], [0, 0, 200, 100]]
    assert to_pixels(box, size, None).tolist() == [[100, 25, 200, 50], [0, 0, 200, 100]]
    # A box in the padding alone is taken as it is, as in Caffe.
    above = torch.tensor([[0.5, 0.125, 1.0, 0.25]])
    assert to_pixels(above, size, padded).tolist() == [[100, 12.5, 200, 25]]


def test_pixels_are_counted_inclusively() -> None:
    a, b = torch.tensor([0.0, 0, 9, 9]), torch.tensor([5.0, 0, 14, 9])
    assert pixel_overlap(a, b, None) == pytest.approx(50 / 150)
    # Disjoint boxes share one pixel, as in Caffe.
    assert pixel_overlap(a, a + 20, None) == pytest.approx(1 / 199)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no lines"),
        ("a 3\n", r":1: 'a 3' is not"),
        ("a 3 4\nb x 4\n", ":2:"),
        ("a 0 4", "positive"),
    ],
)
def test_a_bad_name_size_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "sizes.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        read_sizes(str(path))


def test_sizes_are_height_then_width(tmp_path: Path) -> None:
    path = tmp_path / "sizes.txt"
    path.write_text("a 3 4\n\nb 5 6\n")
    expected: Tensor = torch.tensor([[3.0, 4.0], [5.0, 6.0]])
    assert torch.equal(read_sizes(str(path)), expected)
