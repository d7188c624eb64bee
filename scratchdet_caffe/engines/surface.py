"""What a ``caffe`` module must offer to run a net, and which one was imported."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from typing import Any

from google.protobuf import text_format

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_net
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_text

#: What the commands use of pycaffe; every SSD-Caffe has it.
NAMES = ("Net", "get_solver", "layer_type_list", "set_mode_cpu", "TRAIN", "TEST")
#: What weiliu89/caffe, branch ssd, adds to BVLC's Caffe.
SSD_LAYERS = (
    "AnnotatedData",
    "DetectionEvaluate",
    "DetectionOutput",
    "MultiBoxLoss",
    "Normalize",
    "Permute",
    "PriorBox",
)
#: What sfzhang15/RefineDet adds to that is no layer of its own, but a field of two.
REFINEDET_FIELD = ("MultiBoxLossParameter", "objectness_score")


def describe(caffe: Any) -> str:
    """Return which ``caffe`` this is: version, path, and whose layers it knows."""
    missing = _missing_layers(caffe)
    knows = f"no SSD layers ({', '.join(missing)} missing)" if missing else "SSD layers"
    if not missing:
        knows += ", RefineDet's too" if _knows_refinedet(caffe) else ", not RefineDet's"
    return f"{_who(caffe)}: {knows}"


def check_surface(caffe: Any) -> None:
    """Check that ``caffe`` is an SSD-Caffe with a pycaffe that the commands can use.

    Raises:
        UserError: What is missing, and which module lacks it.
    """
    lacking = [name for name in NAMES if not hasattr(caffe, name)]
    if lacking:
        raise UserError(
            f"{_who(caffe)} offers no {', '.join(lacking)}: it is no pycaffe. Put the folder "
            "'python' of an SSD-Caffe that was built with `make pycaffe` on PYTHONPATH"
        )
    if missing := _missing_layers(caffe):
        raise UserError(
            f"{_who(caffe)} has no layer {', '.join(missing)}: it is not SSD-Caffe. Put the "
            "folder 'python' of a build of weiliu89/caffe (branch ssd) or sfzhang15/RefineDet "
            "first on PYTHONPATH"
        )


def check_nets(caffe: Any, files: Iterable[str | os.PathLike[str]]) -> None:
    """Check that ``caffe`` knows all fields and layer types of the net prototxts ``files``.

    Raises:
        UserError: The first that it does not know, or a file that no Caffe reads.
    """
    for file in files:
        net = read_net(file)
        _check_fields(caffe, file)
        known = set(caffe.layer_type_list())
        for layer in net.layer:
            if layer.type not in known:
                raise UserError(
                    f"{file}: layer '{layer.name}' is of type {layer.type}, which {_who(caffe)} "
                    "does not have"
                )


def net_files(solver: pb.SolverParameter) -> list[str]:
    """Return the net prototxts that ``solver`` names."""
    named = [solver.net, solver.train_net, *solver.test_net]
    return [file for file in named if file]


def _check_fields(caffe: Any, file: str | os.PathLike[str]) -> None:
    """Parse ``file`` by the schema that ``caffe`` was built from."""
    schema = _schema(caffe)
    try:
        text_format.Parse(read_text(file, "prototxt"), schema.NetParameter())
    except text_format.ParseError as error:
        hint = ""
        if REFINEDET_FIELD[1] in str(error):
            hint = ". RefineDet's nets need a build of sfzhang15/RefineDet"
        raise UserError(
            f"{file}: {_who(caffe)} cannot read it: {str(error).rstrip('.')}{hint}"
        ) from error


def _schema(caffe: Any) -> Any:
    classes = getattr(getattr(caffe, "proto", None), "caffe_pb2", None)
    if classes is not None:
        return classes
    name = f"{caffe.__name__}.proto.caffe_pb2"
    try:
        return importlib.import_module(name)
    except (ImportError, TypeError) as error:  # TypeError: made by a protoc of another age
        raise UserError(
            f"{_who(caffe)}: its message classes ({name}) cannot be imported: {error}"
        ) from error


def _knows_refinedet(caffe: Any) -> bool:
    message, field = REFINEDET_FIELD
    descriptor = getattr(_schema(caffe), message).DESCRIPTOR
    return field in descriptor.fields_by_name


def _missing_layers(caffe: Any) -> list[str]:
    known = set(caffe.layer_type_list())
    return [layer for layer in SSD_LAYERS if layer not in known]


def _who(caffe: Any) -> str:
    version = getattr(caffe, "__version__", "of unknown version")
    return f"caffe {version} at {getattr(caffe, '__file__', None) or 'an unknown place'}"
