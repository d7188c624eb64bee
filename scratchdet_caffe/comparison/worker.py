"""One engine at work on a frozen net, in a process of its own.

The job is a JSON file, see `Job`; arrays go through ``.npz`` files and weights through a
``.caffemodel``, which every engine reads. Only pycaffe's own names are used.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.cli import EXIT_USER_ERROR
from scratchdet_caffe.engines import describe, load_engine
from scratchdet_caffe.errors import UserError

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Job:
    """What a worker is to do.

    Attributes:
        engine: "torch" or "caffe".
        device: "cpu" or "cuda".
        task: "record" (run ``net``, the sources alone, ``passes`` times) or "run".
        net: The prototxt.
        phase: ``pb.TRAIN`` or ``pb.TEST``.
        out: The ``.npz`` file to write.
        weights: Weights to begin with; a file that is not there yet is written, with those that
            the engine fills in.
        inputs: ``.npz`` with arrays ``<pass>/<blob>`` for the input blobs.
        passes: Batches to record, or solver steps to take.
        solver: The solver prototxt for steps, or None.
        backward: Whether gradients are asked for.
    """

    engine: str
    device: str
    task: str
    net: str
    phase: int
    out: str
    weights: str = ""
    inputs: str | None = None
    passes: int = 0
    solver: str | None = None
    backward: bool = False

    def write(self, path: Path) -> None:
        """Write the job where a worker reads it."""
        path.write_text(json.dumps(asdict(self)))


def main(path: str) -> int:
    """Do the job in the file ``path``; return the exit status."""
    job = Job(**json.loads(Path(path).read_text()))
    try:
        caffe = load_engine(job.engine, job.device, [job.net])
        if job.task == "record":
            save(job.out, _record(caffe, job))
        else:
            inputs = dict(np.load(str(job.inputs)))
            found = {"engine": np.array(describe(caffe)), **_run(caffe, job, inputs)}
            if job.solver:
                found.update(_steps(caffe, job, inputs))
            save(job.out, found)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    return 0


def save(path: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write ``arrays`` as ``.npz``."""
    np.savez(path, **arrays)  # type: ignore[arg-type]  # its other keyword is a flag


def _net(caffe: Any, job: Job) -> Any:
    net = caffe.Net(job.net, job.phase)
    if not Path(job.weights).exists():
        net.save(job.weights)
    net.copy_from(job.weights)
    return net


def _record(caffe: Any, job: Job) -> dict[str, Array]:
    """Return ``<pass>/<blob>`` for every blob of the sources."""
    net, found = caffe.Net(job.net, job.phase), {}
    for number in range(job.passes):
        net.forward()
        found.update({f"{number}/{name}": np.array(b.data) for name, b in net.blobs.items()})
    return found


def _fill(net: Any, inputs: Mapping[str, Array], number: int) -> None:
    for name in net.inputs:
        net.blobs[name].data[...] = inputs[f"{number}/{name}"]


def _run(caffe: Any, job: Job, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """One pass: ``data/<blob>``, ``diff/<blob>``, and of parameters both, and data afterwards."""
    net = _net(caffe, job)
    net.clear_param_diffs()
    _fill(net, inputs, 0)
    net.forward()
    if job.backward:
        net.backward()
    found = {f"data/{name}": np.array(blob.data) for name, blob in net.blobs.items()}
    found.update({f"state/{name}": data for name, data in _params(net).items()})
    if job.backward:
        found.update({f"diff/{name}": np.array(blob.diff) for name, blob in net.blobs.items()})
        for layer, blobs in net.params.items():
            for i, blob in enumerate(blobs):
                found[f"gradient/{layer}/{i}"] = np.array(blob.diff)
    return found


def _steps(caffe: Any, job: Job, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Solver steps, each on its own batch: ``step<k>/<layer>/<i>``, k from 0 (before the first)."""
    solver = caffe.get_solver(job.solver)
    solver.net.copy_from(job.weights)
    found = {f"step0/{name}": data for name, data in _params(solver.net).items()}
    for number in range(job.passes):
        _fill(solver.net, inputs, number)
        solver.step(1)
        found.update({f"step{number + 1}/{k}": data for k, data in _params(solver.net).items()})
    return found


def _params(net: Any) -> dict[str, Array]:
    return {
        f"{layer}/{i}": np.array(blob.data)
        for layer, blobs in net.params.items()
        for i, blob in enumerate(blobs)
    }
