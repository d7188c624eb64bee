"""Which nets a solver trains and tests, from the many ways in which a prototxt can say so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_net
from scratchdet_caffe.errors import UserError


@dataclass(frozen=True)
class NetSource:
    """A net and the state for which it is filtered."""

    param: pb.NetParameter
    level: int
    stages: tuple[str, ...]


def _read(path: str, field: str) -> pb.NetParameter:
    if not Path(path).is_file():
        raise UserError(
            f"solver: {field} names '{path}', which is not there "
            f"(paths count from the current folder, {Path.cwd()})"
        )
    return read_net(path)


def _source(net: pb.NetParameter, *states: pb.NetState) -> NetSource:
    state = pb.NetState()
    state.CopyFrom(net.state)
    for other in states:
        state.MergeFrom(other)
    stages = tuple(stage for stage in state.stage if stage)
    return NetSource(net, state.level, stages)


def train_source(solver: pb.SolverParameter) -> NetSource:
    """Return the train net of ``solver``: exactly one of its four fields must be given."""
    given = [
        field
        for field in ("train_net_param", "train_net", "net_param", "net")
        if solver.HasField(field)
    ]
    if len(given) != 1:
        said = " and ".join(given) if given else "none"
        raise UserError(
            "solver: exactly one of net, net_param, train_net, train_net_param "
            f"must give the train net, but there is {said}"
        )
    (field,) = given
    value = getattr(solver, field)
    net = _read(value, field) if isinstance(value, str) else value
    return _source(net, solver.train_state)


def test_sources(solver: pb.SolverParameter) -> list[NetSource]:
    """Return the test nets of ``solver``, one per ``test_iter``."""
    nets = [*solver.test_net_param]
    nets += [_read(path, "test_net") for path in solver.test_net]
    spare = len(solver.test_iter) - len(nets)
    if spare < 0:
        raise UserError(
            f"solver: {len(nets)} test nets need as many test_iter, "
            f"but there are {len(solver.test_iter)}"
        )
    if spare and solver.HasField("net_param"):
        nets += [solver.net_param] * spare
    elif spare and solver.HasField("net"):
        nets += [_read(solver.net, "net")] * spare
    elif spare:
        raise UserError(
            f"solver: {len(solver.test_iter)} test_iter, but only {len(nets)} test nets"
        )
    if nets and solver.test_interval <= 0:
        raise UserError("solver: test nets need a test_interval above 0")
    if solver.test_state and len(solver.test_state) != len(nets):
        raise UserError(
            f"solver: {len(solver.test_state)} test_state entries for {len(nets)} test nets"
        )
    states = list(solver.test_state) or [pb.NetState()] * len(nets)
    return [_source(net, state) for net, state in zip(nets, states)]
