"""Matching against a plain greedy reference, ties included."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from scratchdet_caffe.engine.detection.matching import IGNORED, UNMATCHED, bipartite_match, match


@st.composite
def overlap_tables(draw: st.DrawFn) -> Tensor:
    """Overlaps (N, G, P), drawn from few values so that ties abound."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 9)))
    levels = draw(st.sampled_from([3, 5, 1000]))
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    return torch.randint(0, levels, shape, generator=random) / levels


def greedy(overlaps: Tensor) -> list[int]:
    """One image (G, P): take the best pair, lowest prior then lowest object, until none is left."""
    matched = [UNMATCHED] * overlaps.shape[1]
    pairs = [
        (-float(overlaps[g, p]), p, g)
        for g in range(overlaps.shape[0])
        for p in range(overlaps.shape[1])
        if overlaps[g, p] > 1e-6
    ]
    for _, prior, gt in sorted(pairs):
        if matched[prior] == UNMATCHED and gt not in matched:
            matched[prior] = gt
    return matched


@given(overlap_tables())
def test_bipartite_match_is_the_greedy_one(overlaps: Tensor) -> None:
    assert bipartite_match(overlaps).tolist() == [greedy(image) for image in overlaps]


@given(overlap_tables(), st.sampled_from([0.0, 0.3, 0.5]))
def test_then_every_prior_that_overlaps_enough_is_matched(
    overlaps: Tensor, threshold: float
) -> None:
    first = bipartite_match(overlaps)
    matched, best = match(overlaps, threshold)
    assert torch.equal(matched[first >= 0], first[first >= 0])
    assert torch.equal(best, overlaps.amax(1))
    rest = first < 0
    enough = (best >= threshold) & (best > 1e-6)
    assert torch.equal(matched[rest] >= 0, enough[rest])
    image, prior = (rest & enough).nonzero().unbind(1)
    assert torch.equal(overlaps[image, matched[image, prior], prior], best[image, prior])


@given(overlap_tables())
def test_ignored_priors_match_nothing_and_do_not_disturb_the_others(overlaps: Tensor) -> None:
    usable = torch.arange(overlaps.shape[2]) % 2 == 0
    matched, _ = match(overlaps, 0.5, usable)
    assert (matched[:, ~usable] == IGNORED).all()
    assert torch.equal(matched[:, usable], match(overlaps[:, :, usable], 0.5)[0])


def test_a_chain_of_rivals_is_settled_one_after_the_other() -> None:
    # Every object wants prior 0 most, then prior 1, ...; the greatest overlap goes first.
    overlaps = torch.tensor([[[0.9, 0.5, 0.2], [0.8, 0.6, 0.1], [0.7, 0.4, 0.3]]])
    assert bipartite_match(overlaps).tolist() == [[0, 1, 2]]
