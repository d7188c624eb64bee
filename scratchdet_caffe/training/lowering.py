"""Going on with a lower learning rate after a run has diverged.

The solver with the lower rate is a file beside the snapshots, ``<prefix>_lowered.prototxt``: a
resumed run goes on with it, and whoever looks finds out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import format_text, read_solver
from scratchdet_caffe.files import write_text
from scratchdet_caffe.snapshots import set_apart
from scratchdet_caffe.training.run import EXIT_DIVERGED, Run, say
from scratchdet_caffe.training.start import Start, choose_start

FACTOR = 0.5
MOST_LOWERED = 6


def lowered_file(prefix: str) -> Path:
    """Return where the solver with the lower rate is."""
    return Path(f"{prefix}_lowered.prototxt")


def solver_to_use(file: Path, prefix: str, start: Start) -> Path:
    """Return the solver with the lower rate if the run has got one before, else ``file``."""
    lowered = lowered_file(prefix)
    if start.state is None or not lowered.is_file():
        return file
    ours, theirs = read_solver(lowered), read_solver(file)
    rate, ours.base_lr = ours.base_lr, theirs.base_lr
    if ours != theirs or rate >= theirs.base_lr:
        return file  # somebody has changed the solver since
    say(f"goes on with base_lr {rate:g}: the run diverged with more ({lowered})")
    return lowered


def go_lowering(run: Run, wished: Start, anew: Callable[[Path, Start], Run]) -> int:
    """Let ``run`` go; each time that it diverges, go on from before with half the rate.

    Args:
        run: The run, ready to go.
        wished: Where it starts if there is no snapshot.
        anew: Makes the run of a solver's file and a start.

    Returns:
        The exit status of the last run.
    """
    prefix, company = run.param.snapshot_prefix, run.company
    status = run.go()
    for _ in range(MOST_LOWERED):
        if status != EXIT_DIVERGED:
            break
        if company.rank == 0:
            _lower(run.param, run.first_iteration)
        company.most(0)
        start = choose_start(prefix, again=True) if company.rank == 0 else Start()
        start = company.first_says(start)
        if start.state is None:
            start = wished
        if hasattr(run.solver, "close"):
            run.solver.close()
        del run.solver  # before the next one needs the memory
        run = anew(lowered_file(prefix), start)
        status = run.go()
    return status


def _lower(param: pb.SolverParameter, began: int) -> None:
    """Write the solver with the lower rate; a snapshot from which all diverged is set apart."""
    prefix, lowered = param.snapshot_prefix, pb.SolverParameter()
    lowered.CopyFrom(param)
    lowered.base_lr = param.base_lr * FACTOR
    newest = choose_start(prefix, again=True).state
    if lowered_file(prefix).is_file() and newest and f"_iter_{began}." in Path(newest).name:
        set_apart(prefix, began)
    write_text(lowered_file(prefix), format_text(lowered))
    say(f"goes on with base_lr {lowered.base_lr:g} instead of {param.base_lr:g}")
