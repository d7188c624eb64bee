"""Ranking, hard negatives, hard examples."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from scratchdet_caffe.engine.detection.matching import UNMATCHED
from scratchdet_caffe.engine.detection.mining import (
    hard_examples,
    hard_negatives,
    negative_candidates,
    thin_out,
)
from scratchdet_caffe.engine.detection.ranking import largest, ranked


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor]:
    """Losses with ties, matches, and eligible priors, (N, P) each."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 30)))
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    loss = torch.randint(0, 8, shape, generator=random).float()
    matched = torch.randint(0, 6, shape, generator=random)
    matched[matched > 0] = UNMATCHED
    return loss, matched, (matched < 0) & (torch.rand(shape, generator=random) < 0.8)


@given(batches(), st.integers(0, 10))
def test_largest_takes_the_first_of_equals(
    batch: tuple[Tensor, Tensor, Tensor], count: int
) -> None:
    loss, _, _ = batch
    count = min(count, loss.shape[1])
    mask = largest(loss, torch.full((len(loss),), count))
    order = loss.argsort(descending=True, stable=True)[:, :count]
    assert torch.equal(mask, torch.zeros_like(mask).scatter_(1, order, True))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=20))
def test_ranked_sorts_by_group_then_score_then_place(pairs: list[tuple[int, int]]) -> None:
    group = torch.tensor([pair[0] for pair in pairs], dtype=torch.long)
    score = torch.tensor([pair[1] for pair in pairs], dtype=torch.float32)
    wanted = sorted(range(len(pairs)), key=lambda i: (pairs[i][0], -pairs[i][1], i))
    assert ranked(group, score).tolist() == wanted


@given(batches(), st.sampled_from([0.0, 1.0, 1.7, 3.0]))
def test_negatives_are_the_hardest_and_as_many_as_the_ratio_allows(
    batch: tuple[Tensor, Tensor, Tensor], ratio: float
) -> None:
    loss, matched, eligible = batch
    chosen = hard_negatives(loss, matched, eligible, ratio)
    assert not (chosen & ~eligible).any()
    for i in range(len(loss)):
        positives = int((matched[i] >= 0).sum())
        assert chosen[i].sum() == min(int(positives * ratio), int(eligible[i].sum()))
        left = loss[i][eligible[i] & ~chosen[i]]
        if chosen[i].any() and len(left):
            assert loss[i][chosen[i]].min() >= left.max()


def test_an_image_without_matches_has_no_negatives() -> None:
    matched = torch.full((1, 4), UNMATCHED)
    eligible = negative_candidates(matched, torch.zeros(1, 4), 0.5)
    assert eligible.all()
    assert not hard_negatives(torch.rand(1, 4), matched, eligible, 3.0).any()


@given(batches(), st.integers(1, 10))
def test_hard_examples_drop_easy_matches(
    batch: tuple[Tensor, Tensor, Tensor], sample_size: int
) -> None:
    loss, matched, _ = batch
    kept, negatives = hard_examples(loss, matched, torch.ones_like(matched).bool(), sample_size)
    assert not ((kept >= 0) & negatives).any()
    taken = (kept >= 0) | negatives
    assert (taken.sum(1) == min(sample_size, loss.shape[1])).all()
    assert torch.equal(kept[kept >= 0], matched[kept >= 0])


def test_thinning_keeps_one_of_two_boxes_in_one_place() -> None:
    boxes = torch.tensor([[[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.5], [0.6, 0.6, 1, 1], [0, 0, 0, 0]]])
    loss = torch.tensor([[1.0, 2.0, 0.5, 9.0]])
    eligible = torch.ones(1, 4, dtype=torch.bool)
    assert thin_out(eligible, loss, boxes, 0.5, -1).tolist() == [[False, True, True, False]]
    assert not thin_out(eligible, loss, boxes, 0.5, 0).any()
