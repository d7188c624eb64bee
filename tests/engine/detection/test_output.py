"""From scores and boxes to rows of detections."""

from __future__ import annotations

import torch

from scratchdet_caffe.engine.detection.output import candidates, detections, keep_best

APART = torch.tensor([[0, 0, 0.1, 0.1], [0.2, 0.2, 0.3, 0.3], [0.4, 0.4, 0.5, 0.5]])


def test_candidates_are_grouped_by_image_and_class_best_first() -> None:
    scores = torch.tensor([[[0.9, 0.2, 0.3], [0.8, 0.6, 0.3], [0.7, 0.1, 0.5]]])
    found = candidates(scores, 0.15, -1, 0)
    assert found.tolist() == [[0, 1, 1], [0, 1, 0], [0, 2, 2], [0, 2, 0], [0, 2, 1]]
    assert candidates(scores, 0.2, -1, 0).tolist()[:2] == [[0, 1, 1], [0, 2, 2]]
    assert candidates(scores, 0.15, 1, 0).tolist() == [[0, 1, 1], [0, 2, 2]]
    assert candidates(scores, 0.15, 0, 0).shape == (0, 3)
    assert candidates(scores, 0.15, 1, -1).tolist()[0] == [0, 0, 0]


def test_top_k_takes_the_lowest_priors_of_equal_scores() -> None:
    scores = torch.full((2, 50, 2), 0.5)
    found = candidates(scores, 0.1, 3, 0)
    assert found.tolist() == [[n, 1, p] for n in range(2) for p in range(3)]


def test_keep_best_counts_per_image_over_all_classes() -> None:
    image = torch.tensor([0, 0, 0, 2, 2])
    score = torch.tensor([0.5, 0.9, 0.5, 0.1, 0.2])
    assert keep_best(image, score, 2).tolist() == [True, True, False, True, True]
    assert keep_best(image, score, 1).tolist() == [False, True, False, False, True]
    assert not keep_best(image, score, 0).any()
    assert keep_best(image, score, -1).all()


def test_rows_carry_image_label_score_and_box() -> None:
    scores = torch.tensor([[[0, 0.6, 0], [0, 0.9, 0.7], [0, 0, 0]], [[0.0] * 3] * 3])
    found = candidates(scores, 0.5, -1, 0)
    rows = detections(found, scores, APART[found[:, 2]], (0.45, 1.0), -1)
    assert rows.shape == (1, 1, 3, 7)
    assert rows[0, 0, :, :2].tolist() == [[0, 1], [0, 1], [0, 2]]
    torch.testing.assert_close(rows[0, 0, :, 2], torch.tensor([0.9, 0.6, 0.7]))
    assert torch.equal(rows[0, 0, :, 3:], APART[[1, 0, 1]])


def test_nothing_found_is_one_row_per_image() -> None:
    scores = torch.zeros(2, 3, 3)
    found = candidates(scores, 0.5, 400, 0)
    rows = detections(found, scores, torch.zeros(0, 4), (0.45, 1.0), 200)
    assert rows.tolist() == [[[[0.0] + [-1.0] * 6, [1.0] + [-1.0] * 6]]]


def test_scores_that_are_not_numbers_are_no_candidates() -> None:
    scores = torch.full((1, 4, 2), torch.nan)
    assert candidates(scores, 0.01, 2, 0).shape == (0, 3)
