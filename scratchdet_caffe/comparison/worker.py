"""One engine at work on a frozen net, in a process of its own.

The job is a JSON file, see `Job`; arrays go through ``.npz`` files and weights through a
``.caffemodel``, which every engine reads. Only pycaffe's own names are used.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
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
        reference: What the first engine found, an ``.npz``: every layer is then run by itself on
            the first engine's values, too, and every step begins with the first engine's weights.
            None for the first engine itself.
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
    reference: str | None = None

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
            reference = dict(np.load(job.reference)) if job.reference else None
            if reference is not None:
                whole = {f"whole/{key[5:]}": a for key, a in found.items() if key[:5] == "data/"}
                found.update(whole, **_alone(caffe, job, reference))
            if job.solver:
                found.update(_steps(caffe, job, inputs, reference))
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


def _alone(caffe: Any, job: Job, reference: Mapping[str, Array]) -> dict[str, Array]:
    """Run each layer by itself: its bottoms and its tops' gradients are the reference's.

    So a value next to zero that rounding brings to the other side of a ReLU, or a tie of a maximum,
    is decided alike by both engines; the few values that a BatchNorm may stand on amplify nothing;
    and an error stays with the layer that makes it. The keys are those of `_run`.
    """
    net = _net(caffe, job)
    found: dict[str, Array] = {}
    for layer, tops in net.top_names.items():
        bottoms = net.bottom_names[layer]
        for bottom in bottoms:
            _put(net.blobs[bottom].data, reference, f"data/{bottom}")
        net.clear_param_diffs()
        _range(net.forward, layer)
        found.update({f"data/{top}": np.array(net.blobs[top].data) for top in tops})
        blobs = list(enumerate(net.params.get(layer, [])))
        found.update({f"state/{layer}/{i}": np.array(blob.data) for i, blob in blobs})
        if job.backward:
            for top in tops:
                _put(net.blobs[top].diff, reference, f"diff/{top}")
            _range(net.backward, layer)
            found.update({f"diff/{bottom}": np.array(net.blobs[bottom].diff) for bottom in bottoms})
            found.update({f"gradient/{layer}/{i}": np.array(blob.diff) for i, blob in blobs})
    return found


def _put(array: Array, arrays: Mapping[str, Array], key: str) -> None:
    """Fill ``array`` with what is under ``key``, if it fits; else the comparison shows that."""
    if key in arrays and arrays[key].shape == array.shape:
        array[...] = arrays[key]


def _range(run: Callable[..., Any], layer: str) -> None:
    """Run one layer; pycaffe takes its name for a blob's when all is computed, and may stumble."""
    with suppress(KeyError):
        run(start=layer, end=layer)


def _steps(
    caffe: Any, job: Job, inputs: Mapping[str, Array], reference: Mapping[str, Array] | None
) -> dict[str, Array]:
    """Solver steps, each on its own batch: ``step<k>/<layer>/<i>``, k from 0 (before the first).

    Each begins with the reference's weights, if there is one, and with a history of its own: so
    that rounding of one step, which the next may make much of, is not taken for a wrong rule.
    """
    solver = caffe.get_solver(job.solver)
    solver.net.copy_from(job.weights)
    found = {f"step0/{name}": data for name, data in _params(solver.net).items()}
    for number in range(job.passes):
        if reference is not None:
            for layer, blobs in solver.net.params.items():
                for i, blob in enumerate(blobs):
                    _put(blob.data, reference, f"step{number}/{layer}/{i}")
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
