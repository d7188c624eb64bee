"""What lets ``import caffe`` mean the embedded engine, in this process and its children."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.pycaffe import classifier, coord_map, detector, draw, io, net_spec, proto

#: Holds a package named ``caffe`` that child processes find through PYTHONPATH.
SHIM = str(Path(__file__).with_name("shim"))

# Under these names programs know Caffe's C++ module and the one that wraps it.
caffe._caffe = caffe.pycaffe = caffe  # type: ignore[attr-defined]

_MODULES = {
    "caffe": caffe,
    "caffe._caffe": caffe,
    "caffe.pycaffe": caffe,
    "caffe.classifier": classifier,
    "caffe.coord_map": coord_map,
    "caffe.detector": detector,
    "caffe.draw": draw,
    "caffe.io": io,
    "caffe.net_spec": net_spec,
    "caffe.proto": proto,
    "caffe.proto.caffe_pb2": proto.caffe_pb2,
}


class _Checkouts:
    """Finds what the ``python/caffe`` folder of a user's Caffe adds to the module.

    SSD-Caffe keeps its net builders there, as ``caffe.model_libs``.
    """

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        package, _, module = name.partition(".")
        if package != "caffe" or not module or "." in module:
            return None
        return PathFinder.find_spec(name, [os.path.join(folder, "caffe") for folder in sys.path])


def install() -> None:
    """Alias the module as ``caffe``, with its submodules, here and for child processes.

    Other modules of that package are found in any ``caffe`` folder of ``sys.path``.

    Raises:
        UserError: Another ``caffe`` has been imported already.
    """
    other = sys.modules.get("caffe")
    where = str(getattr(other, "__file__", "") or "")
    if other is not None and other is not caffe and not where.startswith(SHIM):
        raise UserError(
            f"another caffe is imported already, from {where}: "
            "import scratchdet_caffe.pycaffe.install before it"
        )
    sys.modules.update(_MODULES)
    if _Checkouts not in sys.meta_path:
        sys.meta_path.append(_Checkouts)
    if SHIM not in sys.path:  # which processes that multiprocessing starts get as it is
        sys.path.insert(1, SHIM)
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if SHIM not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([SHIM, *paths])


@contextmanager
def as_caffe() -> Iterator[None]:
    """Let ``import caffe`` mean this module for a moment, and then what it meant before."""
    before = {name: sys.modules.get(name) for name in _MODULES}
    sys.modules.update(_MODULES)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
