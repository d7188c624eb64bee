"""Detectors, whose losses are divided by how many priors they match, in several processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchdet_caffe import prepare
from scratchdet_caffe.experiment import plan
from scratchdet_caffe.render import write_job

BATCH, WORLD, ITERATIONS = 2, 2, 3
TRAIN = """
from scratchdet_caffe.caffeproto import read_solver
from scratchdet_caffe.engine.solver import Solver

def losses(iterations):
    solver, seen = Solver(read_solver(file), ranks=ranks), []
    solver.callbacks.append((lambda: None, lambda: seen.append(solver._losses[-1])))
    solver.step(iterations)
    return seen
"""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detector") / "shapes"
    words = ["shapes", "--out", str(folder), "--train", "9", "--test", "2", "--size", "64"]
    assert prepare.main(words) == 0
    return folder


def solver_of(shapes: Path, batch: int, out: Path) -> str:
    """The solver's file of a small RefineDet, which has two losses that are divided by matches.

    Without BatchNorm: in so small a net it makes a rounding error a hundred thousand times larger.
    """
    job = plan(
        "root_resnet18", str(shapes), "mini", size=64, head="refinedet", bn="none", batch=batch,
        gpus="none", max_iter=ITERATIONS, out=str(out / str(batch)),
        settings=[
            "backbone.width=0.0625", "solver.base_lr=0.01", "solver.random_seed=1",
            "solver.iter_size=1", "solver.test_interval=0", "solver.snapshot=0",
        ],
    )  # fmt: skip
    write_job(job)
    return f"{job.folder}/solver.prototxt"


def test_with_one_divisor_processes_train_as_one_with_a_larger_batch(
    together: Callable[..., list[Any]], shapes: Path, tmp_path: Path
) -> None:
    names: dict[str, Any] = {"ranks": None, "file": solver_of(shapes, BATCH * WORLD, tmp_path)}
    exec(TRAIN, names)
    whole = names["losses"](ITERATIONS)
    file = solver_of(shapes, BATCH, tmp_path)
    program = (
        f"file = {file!r}\n{TRAIN}\n"
        f"ranks.loss_norm = 'all'\npooled = losses({ITERATIONS})\n"
        "ranks.loss_norm = 'local'\nresult = pooled, losses(1)"
    )
    for pooled, local in together(WORLD, program):
        np.testing.assert_allclose(pooled, whole, rtol=1e-5)
        # Caffe's rule, the default: a mean of quotients is another number.
        assert abs(local[0] / whole[0] - 1) > 1e-3
