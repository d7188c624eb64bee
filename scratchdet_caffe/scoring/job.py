"""Which net and which weights a folder of a job means."""

from __future__ import annotations

from pathlib import Path

from scratchdet_caffe.caffeproto import read_solver
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.snapshots import find_snapshots


def net_of(
    job: Path | None, model: Path | None, weights: Path | None, otherwise: str = ""
) -> tuple[Path, Path, str]:
    """Return net, weights, and the ap_version that the training log uses.

    Args:
        job: A job's folder: its ``test.prototxt``, and the newest snapshot that its solver left.
        model: Another prototxt.
        weights: Another ``.caffemodel``.
        otherwise: What else the user might have given.

    Raises:
        UserError: The three do not say which, or a file is missing.
    """
    version = "11point"
    if job is not None:
        if not job.is_dir():
            raise UserError(f"{job}: no such folder (gen makes the folder of a job)")
        solver = read_solver(job / "solver.prototxt")
        version = solver.ap_version
        model = model or job / "test.prototxt"
        weights = weights or _newest(job, Path(solver.snapshot_prefix).name)
    if model is None or weights is None:
        raise UserError(
            f"give JOB_DIR, or --model test.prototxt and --weights W.caffemodel{otherwise}"
        )
    if not weights.is_file():
        raise UserError(f"{weights}: no such weights file")
    return model, weights, version


def _newest(folder: Path, prefix: str) -> Path:
    found = find_snapshots(str(folder / prefix), ".caffemodel")
    if not found:
        raise UserError(
            f"{folder}: no *_iter_N.caffemodel in it; train first "
            f"(python -m scratchdet_caffe.train --solver {folder / 'solver.prototxt'})"
        )
    return found[-1]
