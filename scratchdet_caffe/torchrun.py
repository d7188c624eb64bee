"""Processes that torchrun starts: they meet, and of those that fail one alone speaks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from scratchdet_caffe.errors import UserError

if TYPE_CHECKING:
    from scratchdet_caffe.engine.ranks import Ranks

BATCH_NORMS = ("local", "broadcast", "sync")
LOSS_NORMS = ("local", "all")
EXIT_LOST = 4
_HEARING = 2.0  # seconds in which a process that failed may say why


def started() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("WORLD_SIZE", "1")) > 1


def restarts() -> int:
    """How often torchrun has started the processes anew after a failure."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def local_rank() -> int:
    """Number of this process on its machine, and of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def local_world() -> int:
    """Number of processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the process that speaks."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def joined(device: str, batch_norm: str = "local", loss_norm: str = "local") -> Iterator[Ranks]:
    """Meet the other processes for the duration; without torchrun this one is alone.

    Args:
        device: "cpu" or "cuda".
        batch_norm: What BatchNorm does across processes; see `Ranks`.
        loss_norm: What losses are divided by across processes; see `Ranks`.

    Raises:
        UserError: The processes do not meet; or one failed, and this one is to say so.
        SystemExit: With status 4 where another process says why.
    """
    from scratchdet_caffe.engine import ranks

    with_others = ranks.join(device, batch_norm, loss_norm)
    try:
        yield with_others
    except ranks.PeerLost as lost:
        time.sleep(_HEARING)
        if ranks.first_to_fail():
            raise UserError(
                f"process {with_others.rank} of {with_others.world} lost another one ({lost}); "
                "what was trained up to the last snapshot is not lost"
            ) from lost
        raise SystemExit(EXIT_LOST) from lost
    except Exception as error:
        if not ranks.first_to_fail():
            raise SystemExit(EXIT_LOST) from None
        if with_others.rank and isinstance(error, UserError):
            # Its machine may lack what the first one's has.
            raise UserError(f"process {with_others.rank}: {error}") from error
        raise
    ranks.leave()
