"""Nets, solvers, weights and states from files of any age and format, in the present format."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import hdf5
from scratchdet_caffe.caffeproto.binary import parse_binary, write_binary
from scratchdet_caffe.caffeproto.legacy import upgrade_net, upgrade_solver
from scratchdet_caffe.caffeproto.text import read_prototxt
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_bytes

Path = str | os.PathLike[str]


def read_net(path: Path) -> pb.NetParameter:
    """Read the net prototxt ``path``; V0, V1 and other old forms are upgraded (and logged).

    Raises:
        UserError: No such file, no such text, or an old form that has no present one.
    """
    return upgrade_net(read_prototxt(path, pb.NetParameter), os.fspath(path))


def read_solver(path: Path) -> pb.SolverParameter:
    """Read the solver prototxt ``path``; an old ``solver_type`` becomes ``type``.

    Raises:
        UserError: No such file, no such text, or both fields are there.
    """
    return upgrade_solver(read_prototxt(path, pb.SolverParameter), os.fspath(path))


def read_model(path: Path) -> pb.NetParameter:
    """Read weights: a ``.caffemodel`` of any age, or a ``.caffemodel.h5``.

    The content tells which, not the name. HDF5 knows only layer names and blobs.

    Raises:
        UserError: No such file, cut short, or of another kind.
    """
    data, source = read_bytes(path, "weights file"), os.fspath(path)
    if hdf5.is_hdf5(data):
        return hdf5.parse_model(data, source)
    with _damage_told(source):
        net = upgrade_net(parse_binary(data, pb.NetParameter, source), source)
        for layer in net.layer:
            _check_text(layer.name)
    return net


def read_state(path: Path) -> pb.SolverState:
    """Read a ``.solverstate`` or ``.solverstate.h5``; see `read_model`."""
    data, source = read_bytes(path, "solver state"), os.fspath(path)
    if hdf5.is_hdf5(data):
        return hdf5.parse_state(data, source)
    with _damage_told(source):
        state = parse_binary(data, pb.SolverState, source)
        _check_text(state.learned_net)
    return state


@contextmanager
def _damage_told(source: str) -> Iterator[None]:
    """The parser takes any bytes for a string; only who looks at it finds them spoilt."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise UserError(f"{source}: damaged: a name in it is not UTF-8 text") from error


def _check_text(text: str | bytes) -> None:
    if isinstance(text, bytes):  # protobuf's way of saying that it is no text
        text.decode()


def write_model(path: Path, net: pb.NetParameter) -> None:
    """Write weights, aside first; a name that ends in ``.h5`` asks for HDF5."""
    if os.fspath(path).endswith(".h5"):
        hdf5.write_model(path, net)
    else:
        write_binary(path, net)


def write_state(path: Path, state: pb.SolverState) -> None:
    """Write a solver's state, aside first; a name that ends in ``.h5`` asks for HDF5."""
    if os.fspath(path).endswith(".h5"):
        hdf5.write_state(path, state)
    else:
        write_binary(path, state)
