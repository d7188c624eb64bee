"""A comparison from start to end: weights, inputs, both engines, rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_net, read_solver, write_prototxt
from scratchdet_caffe.comparison.engines import Engine
from scratchdet_caffe.comparison.freeze import Frozen, freeze
from scratchdet_caffe.comparison.inputs import draw_inputs
from scratchdet_caffe.comparison.measure import Row, compare
from scratchdet_caffe.comparison.worker import Job, save
from scratchdet_caffe.engine.shapes import infer
from scratchdet_caffe.errors import UserError

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Comparison:
    """What to compare.

    Attributes:
        net: The net prototxt.
        engines: The two; weights and data come from the first.
        phase: ``pb.TRAIN`` (forward and backward) or ``pb.TEST`` (forward).
        weights: A ``.caffemodel``, or None for those that the first engine fills in.
        solver: A solver prototxt whose rule takes steps, or None.
        steps: How many.
        inputs: ``.npz`` with an array for each input blob, or None to draw them.
        seed: For drawn inputs.
        device: "cpu" or "cuda".
    """

    net: Path
    engines: Sequence[Engine]
    phase: int = pb.TRAIN
    weights: Path | None = None
    solver: Path | None = None
    steps: int = 3
    inputs: Path | None = None
    seed: int = 1
    device: str = "cpu"


@dataclass(frozen=True)
class Outcome:
    """What came of it: who was compared, the rows of all layers, and remarks."""

    engines: list[str]
    rows: list[Row]
    notes: list[str]


def run(what: Comparison, folder: Path) -> Outcome:
    """Compare the two engines, with files in ``folder`` (weights, arrays and nets).

    Raises:
        UserError: A file cannot be read, or an engine fails; the sentence says which.
    """
    frozen = freeze(read_net(what.net), what.phase)
    batches = max(what.steps, 1) if what.solver else 1
    first = what.engines[0]
    job = Job(first.kind, what.device, "run", str(folder / "net.prototxt"), what.phase, "")
    inputs = _inputs(what, frozen, batches, job, folder)
    shapes = {blob: inputs[f"0/{blob}"].shape for blob in (*frozen.given, *frozen.recorded)}
    net = frozen.with_inputs(shapes)
    write_prototxt(job.net, net)
    save(str(folder / "inputs.npz"), inputs)

    job = replace(
        job,
        weights=str(what.weights or folder / "weights.caffemodel"),
        inputs=str(folder / "inputs.npz"),
        passes=batches,
        solver=_solver(what, folder) if what.solver else None,
        backward=what.phase == pb.TRAIN,
    )
    found = []
    for number, engine in enumerate(what.engines):
        out = folder / f"engine{number}.npz"
        engine.run(replace(job, engine=engine.kind, out=str(out)), folder / "job.json")
        job = replace(job, reference=str(out))
        found.append(dict(np.load(out)))
    rows = compare(net, found[0], found[1], batches if what.solver else 0)
    notes = [f"Dropout keeps everything here: {', '.join(frozen.dropout)}"] * bool(frozen.dropout)
    if frozen.recorded:
        notes.append(f"{', '.join(frozen.recorded)}: data as engine '{first.name}' reads it")
    names = [f"{e.name} ({f['engine']})" for e, f in zip(what.engines, found)]
    return Outcome(names, rows, notes)


def _inputs(
    what: Comparison, frozen: Frozen, batches: int, job: Job, folder: Path
) -> dict[str, Array]:
    """Return ``<pass>/<blob>`` for every input of the frozen net."""
    arrays: dict[str, Array] = {}
    if frozen.recorded:
        out = folder / "recorded.npz"
        sources = folder / "sources.prototxt"
        write_prototxt(sources, frozen.sources)
        record = replace(job, task="record", net=str(sources), out=str(out), passes=batches)
        what.engines[0].run(record, folder / "job.json")
        arrays.update(_of_one_shape(dict(np.load(out)), frozen.recorded, batches))
    if what.inputs is not None:
        given = _read_inputs(what.inputs, frozen)
        arrays.update({f"{k}/{b}": a for k in range(batches) for b, a in given.items()})
        return arrays
    shapes = {blob: arrays[f"0/{blob}"].shape for blob in frozen.recorded} | frozen.given
    known = infer(frozen.with_inputs(shapes), what.phase).blobs
    for k in range(batches):
        drawn = draw_inputs(frozen.net, frozen.given, known, what.seed + k)
        arrays.update({f"{k}/{blob}": array for blob, array in drawn.items()})
    return arrays


def _of_one_shape(arrays: dict[str, Array], blobs: Sequence[str], batches: int) -> dict[str, Array]:
    """Give a blob one shape in all batches: labels get rows of -1, which Caffe passes over."""
    for blob in blobs:
        keys = [f"{k}/{blob}" for k in range(batches)]
        shape = np.max([arrays[key].shape for key in keys], axis=0)
        for key in keys:
            missing = [(0, int(there - here)) for here, there in zip(arrays[key].shape, shape)]
            arrays[key] = np.pad(arrays[key], missing, constant_values=-1)
    return arrays


def _read_inputs(path: Path, frozen: Frozen) -> dict[str, Array]:
    try:
        given = dict(np.load(path))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not an .npz file of arrays: {error}") from error
    for blob in frozen.given:
        if blob not in given:
            raise UserError(f"{path}: holds no array '{blob}', which is an input of the net")
        frozen.given[blob] = given[blob].shape
    return {blob: np.asarray(given[blob], np.float32) for blob in frozen.given}


def _solver(what: Comparison, folder: Path) -> str:
    """Write the solver that trains the frozen net, and does nothing but that; return its path."""
    assert what.solver is not None
    solver = read_solver(what.solver)
    for name in ("train_net", "test_net", "test_iter", "test_interval", "test_initialization"):
        solver.ClearField(name)
    solver.net = str(folder / "net.prototxt")
    solver.display = 0
    solver.snapshot = 0
    solver.snapshot_after_train = False
    solver.snapshot_prefix = str(folder / "snapshot")
    solver.ClearField("net_param")
    solver.ClearField("train_net_param")
    write_prototxt(folder / "solver.prototxt", solver)
    return str(folder / "solver.prototxt")
