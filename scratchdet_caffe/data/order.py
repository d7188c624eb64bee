"""Which records make a batch, also where several processes share the work."""

from __future__ import annotations

from scratchdet_caffe.errors import UserError

Shard = tuple[int, int]  # rank, world size
ALONE: Shard = (0, 1)


def places(position: int, count: int, shard: Shard = ALONE) -> range:
    """Return the positions of the ``count`` records that a process takes from ``position`` on.

    Positions number the records of a run over all epochs. Of ``world`` processes, number
    ``rank`` takes those with ``position % world == rank`` (Caffe's rule): together they take the
    next ``count * world`` records, each once, as one process with a batch that large would.
    That holds from any ``position``, so a run goes on with another number of processes.
    """
    rank, world = shard
    first = position + (rank - position) % world
    return range(first, first + count * world, world)


def checked(shard: Shard) -> Shard:
    """Return ``shard``.

    Raises:
        UserError: It is not one of ``(0, world)`` to ``(world - 1, world)``.
    """
    rank, world = shard
    if not 0 <= rank < world:
        raise UserError(f"data shard {rank} of {world}: the rank must be 0 to {world - 1}")
    return shard
