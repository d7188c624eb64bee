"""What a solver's description must not say, told before anything is built."""

from __future__ import annotations

from pathlib import Path

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.errors import UserError


def check_solver(solver: pb.SolverParameter) -> None:
    """Raise a `UserError` for numbers that contradict each other, or snapshots without a place."""
    for field, least in (("iter_size", 1), ("average_loss", 1)):
        if getattr(solver, field) < least:
            raise UserError(f"solver: {field} must be at least {least}")
    if solver.regularization_type not in ("L1", "L2"):
        raise UserError("solver: regularization_type must be L1 or L2")
    if min(solver.test_iter, default=0) < 0:
        raise UserError(f"solver: test_iter must not be negative, but is {list(solver.test_iter)}")
    if solver.momentum and solver.type in ("AdaGrad", "RMSProp"):
        raise UserError(f"solver: type '{solver.type}' has no momentum: leave it out")
    if solver.type == "RMSProp" and not 0 <= solver.rms_decay < 1:
        raise UserError(f"solver: rms_decay must be from 0 to below 1, not {solver.rms_decay:g}")
    if solver.snapshot:
        if not solver.snapshot_prefix:
            raise UserError("solver: snapshot is given, but no snapshot_prefix")
        _check_writable(Path(solver.snapshot_prefix))


def _check_writable(prefix: Path) -> None:
    """Find out now, not when the first snapshot is due, whether files can be written there."""
    probe = prefix.parent / ".tempfile"  # the name that Caffe gives its own
    try:
        prefix.parent.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"solver: cannot write snapshots to '{prefix}': {error.strerror}"
        ) from error
