"""Which prior box answers for which object (SSD, section 2.2; Caffe layer MultiBoxLoss)."""

from __future__ import annotations

import torch
from torch import Tensor

#: Marks of priors without an object: a negative candidate, and one that takes no part.
UNMATCHED, IGNORED = -1, -2

#: Overlaps up to this size are none.
_LEAST_OVERLAP = 1e-6


def bipartite_match(overlaps: Tensor) -> Tensor:
    """Give each object the prior that it overlaps best, no prior to two objects.

    Pairs are taken greedily, best overlap first; on a tie the lowest prior, then the lowest
    object. All pairs that are best for both their object and their prior are taken at once:
    that gives what taking them one by one gives, in as many rounds as rivals stand in line.

    Args:
        overlaps: (N, G, P) overlaps of G >= 1 objects and P priors in N images.

    Returns:
        (N, P) int64, the object of each prior or `UNMATCHED`.
    """
    images, objects, priors = overlaps.shape
    matched = torch.full((images, priors), UNMATCHED, device=overlaps.device)
    index = torch.arange(objects, device=overlaps.device)
    free = overlaps.masked_fill(overlaps <= _LEAST_OVERLAP, 0)
    while True:
        best, prior = free.max(dim=2)  # of each object; the first of equals
        # wanted[n, h, g]: the overlap of object h with the prior that object g wants.
        wanted = free.gather(2, prior[:, None].expand(-1, objects, -1))
        wins = (wanted.max(dim=1).indices == index) & (best > 0)
        image, winner = wins.nonzero(as_tuple=True)
        matched[image, prior[image, winner]] = winner
        if not ((best > 0) & ~wins).any():
            return matched
        free[image, winner] = 0
        free[image, :, prior[image, winner]] = 0


def match(
    overlaps: Tensor, threshold: float | None = None, usable: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Match priors to objects: first `bipartite_match`, then every prior that overlaps enough.

    Args:
        overlaps: (N, G, P) overlaps of G >= 1 objects and P priors in N images.
        threshold: The overlap from which an unmatched prior gets the object that it overlaps
            best (PER_PREDICTION); None to stop after the bipartite match.
        usable: Bool, broadcastable to (N, P): priors that take part; None for all.

    Returns:
        The object of each prior, `UNMATCHED` or `IGNORED`, (N, P) int64; and the best overlap
        of each prior, (N, P).
    """
    if usable is not None:
        overlaps = overlaps * usable.unsqueeze(-2)
    matched = bipartite_match(overlaps)
    best, nearest = overlaps.max(dim=1)
    if threshold is not None:
        enough = (best >= threshold) & (best > _LEAST_OVERLAP) & (matched == UNMATCHED)
        matched = torch.where(enough, nearest, matched)
    if usable is not None:
        matched = matched.masked_fill(~usable, IGNORED)
    return matched, best
