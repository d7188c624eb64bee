"""The loss around a training: steps along the gradient from each snapshot, on one batch.

After Santurkar et al., "How Does Batch Normalization Help Optimization?" (NeurIPS 2018), section
3.1: how the loss varies along the gradient, how far the gradient stays the same there
(predictiveness), and the largest ratio of its change to the length of the step (effective
smoothness). Writes ``landscape.csv`` beside the snapshots; the training is not touched.

    python -m scratchdet_caffe.study.landscape --solver JOB/solver.prototxt
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import format_text, read_net, read_solver
from scratchdet_caffe.cli import Parser, run
from scratchdet_caffe.engines import DEVICES, ENGINES, load_engine
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import write_text
from scratchdet_caffe.snapshots import find_snapshots

Array = npt.NDArray[np.float32]
LANDSCAPE_FILE = "landscape.csv"
STEPS = (0.5, 1.0, 2.0, 4.0)
"""Lengths of the steps, in learning rates."""
_HEAD = "iteration,step,loss,gradient_distance,smoothness"


def main(argv: list[str]) -> int:
    """Run the command with ``argv``."""
    parser = Parser(
        "study.landscape",
        "Probe the loss along the gradient from every snapshot of a training, on its first batch.",
        "python -m scratchdet_caffe.study.landscape --solver models/.../solver.prototxt",
    )
    parser.add_argument("--solver", required=True, type=Path, metavar="S")
    parser.add_argument("--engine", choices=ENGINES, default="torch", help="default: torch")
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="default: cpu")
    parser.add_argument(
        "--rate", type=float, help="what steps are measured in (default: the solver's base_lr)"
    )
    args = parser.parse_args(argv)
    solver = read_solver(args.solver)
    snapshots = find_snapshots(solver.snapshot_prefix, ".caffemodel")
    if not snapshots:
        raise UserError(f"{solver.snapshot_prefix}: no snapshot under this prefix; train first")
    caffe = load_engine(args.engine, device=args.device)
    net = _without_data_layer(caffe, Path(solver.train_net))
    lines = [_HEAD]
    for file in snapshots:
        iteration = int(re.findall(r"_iter_(\d+)", file.name)[-1])
        for step, *found in probe(net, file, args.rate or solver.base_lr):
            lines.append(",".join([str(iteration), f"{step:g}", *(f"{v:.7g}" for v in found)]))
    out = Path(solver.snapshot_prefix).parent / LANDSCAPE_FILE
    write_text(out, "".join(f"{line}\n" for line in lines))
    print(f"wrote {out}: {len(snapshots)} snapshots")
    return 0


def probe(net: Any, weights: Path, rate: float) -> Iterator[tuple[float, float, float, float]]:
    """Walk along the gradient from ``weights``.

    Yields:
        Of each step: its length in rates, the loss there, the distance of the gradient there to
        the one at the start (L2), and that distance over the length of the step.
    """
    net.copy_from(str(weights))
    _, gradient = _loss_and_gradient(net)
    start = [blob.data.copy() for blob in _blobs(net)]
    size = _norm(gradient)
    for step in STEPS:
        for blob, value, slope in zip(_blobs(net), start, gradient):
            blob.data[...] = value - step * rate * slope
        loss, there = _loss_and_gradient(net)
        distance = _norm([a - b for a, b in zip(there, gradient)])
        yield step, loss, distance, distance / max(step * rate * size, 1e-30)


def _loss_and_gradient(net: Any) -> tuple[float, list[Array]]:
    net.clear_param_diffs()
    net.forward()
    net.backward()
    losses = [blob for blob, weight in net.blob_loss_weights.items() if weight]
    loss = sum(float(net.blobs[blob].data.sum()) for blob in losses)
    return loss, [blob.diff.copy() for blob in _blobs(net)]


def _blobs(net: Any) -> list[Any]:
    return [blob for blobs in net.params.values() for blob in blobs]


def _norm(arrays: list[Array]) -> float:
    return float(np.sqrt(sum(float(np.square(a, dtype=np.float64).sum()) for a in arrays)))


def _without_data_layer(caffe: Any, train_net: Path) -> Any:
    """Return the train net with its first batch for good, in place of the data layer."""
    param = read_net(train_net)
    data = [layer for layer in param.layer if layer.type == "AnnotatedData"]
    if len(data) != 1:
        raise UserError(f"{train_net}: has {len(data)} AnnotatedData layers; one is needed")
    only = pb.NetParameter(name="data", layer=data)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.prototxt"
        write_text(file, format_text(only))
        source = caffe.Net(str(file), caffe.TRAIN)
        source.forward()
        batch = {top: source.blobs[top].data.copy() for top in data[0].top}
        given = pb.NetParameter(name=param.name)
        for top, values in batch.items():
            layer = given.layer.add(name=top, type="Input", top=[top])
            layer.input_param.shape.add(dim=values.shape)
        given.layer.extend(layer for layer in param.layer if layer.type != "AnnotatedData")
        write_text(file, format_text(given))
        net = caffe.Net(str(file), caffe.TRAIN)
    for top, values in batch.items():
        net.blobs[top].data[...] = values
    return net


if __name__ == "__main__":
    run("study.landscape", main)
