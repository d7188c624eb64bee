"""Any prototxt of a net or a solver: told apart, upgraded, of other Caffes as far as possible."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scratchdet_caffe.analysis.view import NetView, view_net
from scratchdet_caffe.caffeproto import (
    PrototxtError,
    parse_text,
    upgrade_net,
    upgrade_solver,
)
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.shapes import Shape
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_text

Path = str | os.PathLike[str]


@dataclass(frozen=True)
class NetFile:
    """A net's prototxt.

    Attributes:
        path: The file.
        raw: The message as it stands in the file.
        net: The same in the present format.
        dialect: Why the schema does not accept the file; fields it lacks are left out then.
    """

    path: str
    raw: pb.NetParameter
    net: pb.NetParameter
    dialect: str = ""


@dataclass(frozen=True)
class SolverFile:
    """A solver's prototxt, in the present format."""

    path: str
    solver: pb.SolverParameter


def read_prototxt_of_any_kind(path: Path) -> NetFile | SolverFile:
    """Read the prototxt ``path``: a net of any age or of another Caffe, or a solver.

    Raises:
        UserError: No such file, or no text of either kind.
    """
    text, source = read_text(path, "prototxt"), os.fspath(path)
    if not text.strip():
        raise UserError(f"{source}: is empty")
    try:
        return _net_file(parse_text(text, pb.NetParameter, source), source)
    except PrototxtError as error:
        no_net = error
    try:
        solver = parse_text(text, pb.SolverParameter, source)
        return SolverFile(source, upgrade_solver(solver, source))
    except PrototxtError as error:
        if error.line > no_net.line:  # it went on making sense as a solver for longer
            raise
    if not no_net.unknown_field:
        raise no_net
    net = parse_text(text, pb.NetParameter, source, skip_unknown=True)
    return _net_file(net, source, str(no_net))


def read_net_file(path: Path) -> NetFile:
    """Read the net ``path``; see `read_prototxt_of_any_kind`.

    Raises:
        UserError: No such file, or no net.
    """
    found = read_prototxt_of_any_kind(path)
    if isinstance(found, SolverFile):
        raise UserError(f"{found.path}: is a solver, but a net is needed here")
    return found


def read_view(
    path: Path,
    phase: int | None = None,
    stages: Iterable[str] = (),
    inputs: Mapping[str, Shape] | None = None,
) -> NetView:
    """Read the net ``path`` and wire it for one phase; see `view_net`."""
    file = read_net_file(path)
    return view_net(file.net, file.path, phase, stages, inputs)


def _net_file(raw: pb.NetParameter, source: str, dialect: str = "") -> NetFile:
    return NetFile(source, raw, upgrade_net(raw, source), dialect)
