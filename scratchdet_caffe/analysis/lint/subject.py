"""What rules look at: a net of one phase, and a solver together with its nets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from scratchdet_caffe.analysis.detector import Group, Head, groups, heads
from scratchdet_caffe.analysis.read import (
    NetFile,
    SolverFile,
    read_net_file,
    read_prototxt_of_any_kind,
)
from scratchdet_caffe.analysis.view import LayerView, NetView, view_net
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.solver_nets import NetSource, test_sources, train_source
from scratchdet_caffe.errors import UserError


@dataclass(frozen=True)
class Net:
    """A net of one phase, with what many rules ask about it."""

    file: NetFile
    view: NetView

    @cached_property
    def heads(self) -> list[Head]:
        return heads(self.view)

    @cached_property
    def groups(self) -> list[Group]:
        return groups(self.view, self.heads)

    @property
    def trains(self) -> bool:
        return self.view.phase == pb.TRAIN

    def of_type(self, *types: str) -> Iterator[LayerView]:
        """Yield the layers of these types."""
        return (layer for layer in self.view.layers if layer.type in types)

    @cached_property
    def data(self) -> LayerView | None:
        """The layer that reads pictures from disk; None if the caller provides them."""
        data = (layer for layer in self.view.layers if not layer.node.bottoms and layer.node.tops)
        return next((layer for layer in data if layer.type not in NO_DATA), None)

    @property
    def batch(self) -> int | None:
        """Images of one pass; None if the caller or a file outside decides."""
        shape = self.view.shapes[self.data.node.tops[0]] if self.data else None
        if shape:
            return shape[0]
        p = self.data.node.layer if self.data else pb.LayerParameter()
        return p.data_param.batch_size or p.image_data_param.batch_size or None


#: Layers without bottoms that read no pictures.
NO_DATA = {"Input", "DummyData", "Parameter", "MemoryData", "Python"}


@dataclass(frozen=True)
class Job:
    """A solver and its nets.

    Attributes:
        solver: The solver.
        train: Its training net; None if it could not be found or wired.
        tests: Its test nets; None in place of one that could not.
        deploy: The net beside them that neither trains nor tests.
        problem: Why the solver names no nets that could be trained; empty if it does.
        absent: Net files that it names and that are not there.
        files: The files of all its nets that are there, wired or not.
        record: The folder's ``job.json``.
        gpus: On how many GPUs it is to be trained; None if neither the user nor ``job.json``
            says.
    """

    solver: SolverFile
    train: Net | None
    tests: tuple[Net | None, ...]
    deploy: Net | None
    problem: str
    absent: tuple[str, ...]
    files: tuple[NetFile, ...]
    record: dict[str, Any] = field(default_factory=dict)
    gpus: int | None = None

    @property
    def param(self) -> pb.SolverParameter:
        return self.solver.solver

    @property
    def recorded_solver(self) -> dict[str, Any]:
        """What the recipe in ``job.json`` says of the solver."""
        return solver_of(self.record)


def find_job(path: Path, gpus: int | None = None) -> Job:
    """Return the job of the solver ``path``, or of the folder ``path``.

    The nets of a folder are those in it, even if the solver's paths lead elsewhere (a copied
    job). Those of a solver alone are where it says, or else beside it.

    Raises:
        UserError: No such solver.
    """
    folder = path if path.is_dir() else path.parent
    file = path / "solver.prototxt" if path.is_dir() else path
    solver = read_prototxt_of_any_kind(file)
    if not isinstance(solver, SolverFile):
        raise UserError(f"{file}: is a net, but a solver is needed here")
    finder = _Finder(folder, path.is_dir())
    given = pb.SolverParameter()
    given.CopyFrom(solver.solver)
    finder.embed(given)
    problem, sources = "", []
    try:
        sources = [(train_source(given), pb.TRAIN)]
        sources += [(source, pb.TEST) for source in test_sources(given)]
    except UserError as error:
        problem = str(error)
    nets = [finder.net(source, phase) for source, phase in sources]
    problem = problem or finder.refusal
    files, record = dict(finder.files), _record(folder / "job.json")
    deploy = folder / "deploy.prototxt"
    if path.is_dir() and deploy.is_file():
        files[b"deploy"] = read_net_file(deploy)
    return Job(
        solver,
        nets[0] if nets else None,
        tuple(nets[1:]),
        net_of(files[b"deploy"]) if b"deploy" in files else None,
        problem,
        tuple(finder.absent),
        tuple(files.values()),
        record,
        gpus or _recorded_gpus(solver.solver, record),
    )


class _Finder:
    """Finds the files of a solver's nets and puts them into it, so that nothing is read twice."""

    def __init__(self, folder: Path, inside_first: bool) -> None:
        self.folder, self.inside_first = folder, inside_first
        self.absent: list[str] = []
        self.files: dict[bytes, NetFile] = {}
        self.refusal = ""  # of a net in the stages that the solver asks for

    def embed(self, solver: pb.SolverParameter) -> None:
        for name in ("net", "train_net"):
            if solver.HasField(name):
                getattr(solver, f"{name}_param").CopyFrom(self._read(getattr(solver, name)))
                solver.ClearField(name)
        solver.test_net_param.extend(self._read(path) for path in solver.test_net)
        del solver.test_net[:]

    def _read(self, path: str) -> pb.NetParameter:
        places = [Path(path), self.folder / Path(path).name]
        for place in reversed(places) if self.inside_first else places:
            if place.is_file():
                file = read_net_file(place)
                self.files[_key(file.net)] = file
                return file.net
        self.absent.append(path)
        return pb.NetParameter()

    def net(self, source: NetSource, phase: int) -> Net | None:
        """Return the net of ``source``, or None if it is not there or cannot be wired."""
        param = source.param
        if not param.layer:
            return None
        file = self.files.get(_key(param)) or NetFile("the solver's own net", param, param)
        try:
            return Net(file, view_net(file.net, file.path, phase, source.stages))
        except UserError as error:
            if source.stages or file.raw is param:  # nobody else looks at it in this state
                self.refusal = self.refusal or str(error)
            return None


def _key(net: pb.NetParameter) -> bytes:
    return net.SerializeToString(deterministic=True)


def net_of(file: NetFile, phase: int | None = None) -> Net | None:
    """Return the net of ``file`` in a phase, or None if it cannot be wired."""
    try:
        return Net(file, view_net(file.net, file.path, phase))
    except UserError:
        return None


def _record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def solver_of(record: dict[str, Any]) -> dict[str, Any]:
    """Return the solver of the recipe in a ``job.json``; empty if it holds none."""
    recipe = record.get("recipe")
    solver = recipe.get("solver") if isinstance(recipe, dict) else None
    return solver if isinstance(solver, dict) else {}


def _recorded_gpus(solver: pb.SolverParameter, record: dict[str, Any]) -> int | None:
    """Return how many GPUs the record names; None for a job on the CPU, whatever it names."""
    named = solver_of(record).get("gpus")
    on_gpus = solver.solver_mode == pb.SolverParameter.GPU
    return len(named) if on_gpus and isinstance(named, list) and named else None
