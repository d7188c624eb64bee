"""Snapshots: ``_iter_N.caffemodel``, ``_iter_N.solverstate`` and what Caffe has no field for.

The sidecar ``_iter_N.state.json`` holds the seed and how far each data layer has read, so that a
resumed run sees the batches that the unbroken run would have seen. Real Caffe reads the other
two; without a sidecar (a state that real Caffe wrote) the positions follow from the iteration.
With ``snapshot_format: HDF5`` those two end in ``.h5``.
All three are written aside and synced before the first of them is moved to its name, and the state
is moved last: where it exists, the snapshot is complete, whatever ended the process.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from scratchdet_caffe import glog
from scratchdet_caffe.caffeproto import array_of, blob_of, blob_shape, write_state
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.weights import load_weights, save_weights
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import move_into, staging_folder, write_text
from scratchdet_caffe.snapshots import check_state, model_of, read_sidecar, sidecar_of

if TYPE_CHECKING:
    from scratchdet_caffe.engine.net import Net
    from scratchdet_caffe.engine.solver import Solver

LOG = logging.getLogger("caffe")


def save_snapshot(solver: Solver) -> str | None:
    """Write the snapshot of ``solver`` under its ``snapshot_prefix``; return the model's path.

    Weights that are not finite are not worth a file: nothing is written then, and None returned.
    """
    stem = Path(f"{solver.param.snapshot_prefix}_iter_{solver.iter}")
    end = ".h5" if solver.param.snapshot_format == pb.SolverParameter.HDF5 else ""
    model, state = (stem.with_name(f"{stem.name}{s}{end}") for s in (".caffemodel", ".solverstate"))
    if spoilt := find_spoilt_blob(solver.net):
        LOG.warning(f"No snapshot at iteration {solver.iter}: {spoilt}")
        return None
    LOG.info(glog.snapshot_model(str(model)))
    with staging_folder(stem) as stage:
        save_weights(solver.net, stage / model.name, solver.param.snapshot_diff)
        LOG.info(glog.snapshot_state(str(state)))
        write_state(stage / state.name, _message(solver, str(model)))
        sidecar = stage / sidecar_of(state).name
        sizes = {
            file.name: file.stat().st_size for file in (stage / model.name, stage / state.name)
        }
        write_text(sidecar, json.dumps({**_sidecar(solver), "bytes": sizes}, indent=1) + "\n")
        # A state of an earlier run must not vouch for the weights of this one.
        state.unlink(missing_ok=True)
        move_into(state.parent, stage / model.name, sidecar)
        move_into(state.parent, stage / state.name)
    return str(model)


def _message(solver: Solver, model: str) -> pb.SolverState:
    message = pb.SolverState(
        iter=solver.iter,
        learned_net=model,
        current_step=solver.rate.current_step,
        minimum_loss=solver.rate.minimum_loss,
        iter_last_event=solver.rate.last_event,
    )
    for blob in solver.history:
        message.history.add().MergeFrom(blob_of(blob.cpu().numpy()))
    return message


def find_spoilt_blob(net: Net) -> str:
    """Return which parameter blob holds NaN or infinity, and which of them; "" if none does."""
    for param in net.params:
        if not bool(torch.isfinite(param.tensor).all()):
            word = "nan" if bool(torch.isnan(param.tensor).any()) else "inf"
            return f"blob {param.index} of layer '{param.layer}' holds {word}"
    return ""


def _sidecar(solver: Solver) -> dict[str, Any]:
    return {
        "iter": solver.iter,
        "type": solver.param.type,
        "seed": solver.seed,
        "train_positions": _positions(solver.net),
        "test_positions": [_positions(net) for net in solver.test_nets],
    }


def _positions(net: Net) -> dict[str, int]:
    return {name: source.position for name, source in net.sources.items()}


def load_snapshot(solver: Solver, path: str) -> None:
    """Continue ``solver`` from the state file ``path``; nothing changes if anything is amiss.

    Raises:
        UserError: No such file, cut short, another kind of file, or of another net or solver.
    """
    state = check_state(Path(path))
    shapes = [tuple(blob.shape) for blob in solver.history]
    stored = [blob_shape(blob) for blob in state.history]
    if len(stored) != len(shapes):
        raise UserError(
            f"{path}: holds {len(stored)} history blobs, but solver type "
            f"'{solver.param.type}' needs {len(shapes)} for net '{solver.net.name}'"
        )
    for i, (theirs, ours) in enumerate(zip(stored, shapes)):
        if theirs != ours:
            owner = solver.net.params[i % len(solver.net.params)]
            raise UserError(
                f"{path}: history of blob {owner.index} of layer '{owner.layer}' has shape "
                f"{theirs} there, but {ours} in net '{solver.net.name}'"
            )
    try:
        history = [torch.from_numpy(array_of(blob)) for blob in state.history]
    except ValueError as error:
        raise UserError(f"{path}: damaged history: {error}") from error
    sidecar = read_sidecar(Path(path), state)
    if sidecar and sidecar["type"] != solver.param.type:
        raise UserError(
            f"{path}: written by solver type '{sidecar['type']}', not '{solver.param.type}'"
        )
    load_weights(solver.net, model_of(state, Path(path)))
    for ours_, theirs_ in zip(solver.history, history):
        ours_.copy_(theirs_)
    solver.iter = state.iter
    solver.rate.current_step = state.current_step
    solver.rate.minimum_loss = state.minimum_loss
    solver.rate.last_event = state.iter_last_event
    _seek(solver, sidecar)


def _seek(solver: Solver, sidecar: dict[str, Any]) -> None:
    seed = sidecar.get("seed", solver.seed)
    if solver.param.random_seed < 0:
        # It was drawn anew: go on with the one that the run began with.
        solver.reseed(seed)
    elif seed != solver.seed:
        LOG.warning(f"random_seed is {solver.seed} now, but the snapshot's run had {seed}")
    passes = solver.iter * solver.param.iter_size
    for name, source in solver.net.sources.items():
        reached = passes * source.per_pass
        source.position = sidecar.get("train_positions", {}).get(name, reached)
    for net, positions in zip(solver.test_nets, sidecar.get("test_positions", [])):
        for name, source in net.sources.items():
            source.position = positions.get(name, 0)
