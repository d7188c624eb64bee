"""The one place where the two engines meet: a module with pycaffe's API, either way.

``torch`` is the embedded engine, ``caffe`` whatever SSD-Caffe ``import caffe`` finds. Of the
latter nothing is used but what its pycaffe has (`surface`), and what is missing is said at once:
the C++ library ends the process at the first layer or field that it does not know.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from scratchdet_caffe.engines.output import GLOG_LEVEL, EngineOutput
from scratchdet_caffe.engines.surface import check_nets, check_surface, describe, net_files
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.torchrun import local_rank

ENGINES = ("torch", "caffe")
DEVICES = ("cpu", "cuda")

__all__ = ["DEVICES", "ENGINES", "check_nets", "describe", "load_engine", "net_files", "output_of"]


def load_engine(
    name: str = "torch", device: str = "cpu", nets: Iterable[str | os.PathLike[str]] = ()
) -> Any:
    """Return the real ``caffe`` module, or ours, set up for ``device``.

    Args:
        name: "torch" for the embedded engine, "caffe" for an installed SSD-Caffe.
        device: "cpu" or "cuda".
        nets: Prototxts that are going to be run: their layers and fields are checked. (The
            embedded engine says of itself what it lacks, when it reads them.)

    Raises:
        UserError: The engine or the device is not there, or it lacks something that is needed.
    """
    module = "scratchdet_caffe.pycaffe" if name == "torch" else "caffe"
    # Warnings and worse; who wants the whole log has said so before, see `output_of`.
    os.environ.setdefault(GLOG_LEVEL, "1")
    try:
        caffe = importlib.import_module(module)
    except ImportError as error:
        hint = "install torch" if name == "torch" else "build SSD-Caffe with pycaffe"
        raise UserError(f"engine '{name}' cannot be imported ({error}): {hint}") from error
    if name == "caffe":
        check_surface(caffe)
        check_nets(caffe, nets)
    if device == "cuda":
        caffe.set_device(local_rank())
        caffe.set_mode_gpu()
    else:
        caffe.set_mode_cpu()
    return caffe


def output_of(name: str) -> AbstractContextManager[EngineOutput | None]:
    """Return what carries the log of engine ``name`` while the context lasts.

    None comes from the context of the embedded engine: it logs through Python's ``logging``.
    """
    return EngineOutput() if name == "caffe" else nullcontext()
