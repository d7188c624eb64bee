"""Old nets and solvers brought up to date in memory, step by step, as Caffe's upgrade tools do.

Each step has a test that tells whether a net needs it. What needs none comes back untouched.
"""

from __future__ import annotations

import logging
from typing import Any

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto.legacy_v0 import upgrade_v0
from scratchdet_caffe.errors import UserError

LOG = logging.getLogger("caffe")

#: V1 types whose name is not simply its words in capitals put together.
_ODD_TYPES = {
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "IM2COL": "Im2col",
    "LRN": "LRN",
    "MVN": "MVN",
    "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
}
#: V1 fields that `_blob_settings` joins into ``param``, or that have no successor.
_NOT_COPIED = {"type", "param", "blob_share_mode", "blobs_lr", "weight_decay", "layer"}

_FEEDERS = {
    "DATA": "data_param",
    "IMAGE_DATA": "image_data_param",
    "WINDOW_DATA": "window_data_param",
}

_SOLVER_TYPES = {
    "SGD": "SGD",
    "NESTEROV": "Nesterov",
    "ADAGRAD": "AdaGrad",
    "RMSPROP": "RMSProp",
    "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
}


def upgrade_net(net: pb.NetParameter, source: str) -> pb.NetParameter:
    """Return ``net`` in the present format, or ``net`` itself if it is in it already.

    Args:
        net: A net of any age, with or without blobs; it is left as it is.
        source: What to call it in the log and in errors, usually its file.

    Raises:
        UserError: ``layer`` and ``layers`` in one net, an unknown V0 layer, or inputs and
            their shapes that do not match.
    """
    if any(layer.HasField("layer") for layer in net.layers):
        _attempt("V0LayerParameter", source)
        net, complete = upgrade_v0(net, source)
        if complete:
            LOG.info("Successfully upgraded file specified using deprecated V0LayerParameter")
        else:
            LOG.error(
                "Warning: had one or more problems upgrading V0NetParameter to NetParameter "
                "(see above); continuing anyway."
            )
    if any(_old_transforms(layer) for layer in net.layers):
        _attempt("transformation parameters", source)
        net = _upgrade_transforms(net)
        LOG.info(
            "Successfully upgraded file specified using deprecated data transformation parameters."
        )
    if net.layers:
        _attempt("V1LayerParameter", source)
        net = _upgrade_v1(net, source)
        LOG.info("Successfully upgraded file specified using deprecated V1LayerParameter")
    if net.input:
        _attempt("input fields", source)
        net = _upgrade_inputs(net, source)
        LOG.info("Successfully upgraded file specified using deprecated input fields.")
    if any(_has_old_params(layer) for layer in net.layer):
        LOG.info(f"Attempting to upgrade batch norm layers using deprecated params: {source}")
        net = _upgrade_batch_norm(net)
        LOG.info("Successfully upgraded batch norm layers using deprecated params.")
    return net


def upgrade_solver(solver: pb.SolverParameter, source: str) -> pb.SolverParameter:
    """Return ``solver`` with its old ``solver_type`` number as a ``type`` name.

    Raises:
        UserError: Both are given.
    """
    if not solver.HasField("solver_type"):
        return solver
    if solver.HasField("type"):
        raise UserError(
            f"{source}: solver_type (the old field) and type are both given; remove solver_type"
        )
    _attempt("'solver_type' field (enum)'", source)
    out: pb.SolverParameter = _copy(solver)
    out.type = _SOLVER_TYPES[pb.SolverParameter.SolverType.Name(solver.solver_type)]
    out.ClearField("solver_type")
    LOG.info(
        "Successfully upgraded file specified using deprecated 'solver_type' field (enum) "
        "to 'type' field (string)."
    )
    return out


def _attempt(what: str, source: str) -> None:
    LOG.info(f"Attempting to upgrade input file specified using deprecated {what}: {source}")


def _copy(message: Any) -> Any:
    out = type(message)()
    out.CopyFrom(message)
    return out


def _old_transforms(layer: pb.V1LayerParameter) -> list[tuple[Any, str]]:
    """Settings that V1 held in the data layers' own messages: message and field name."""
    holder = _FEEDERS.get(pb.V1LayerParameter.LayerType.Name(layer.type))
    if holder is None:
        return []
    param = getattr(layer, holder)
    names = ("scale", "mean_file", "crop_size", "mirror")
    return [(param, name) for name in names if param.HasField(name)]


def _upgrade_transforms(net: pb.NetParameter) -> pb.NetParameter:
    out: pb.NetParameter = _copy(net)
    for layer in out.layers:
        for param, name in _old_transforms(layer):
            setattr(layer.transform_param, name, getattr(param, name))
            param.ClearField(name)
    return out


def _upgrade_v1(net: pb.NetParameter, source: str) -> pb.NetParameter:
    if net.layer:
        raise UserError(
            f"{source}: both `layer` and `layers` (the old V1 format) are there; write all as layer"
        )
    out = pb.NetParameter()
    for field, value in net.ListFields():
        if field.name == "layers":
            for old in value:
                _upgrade_v1_layer(old, out.layer.add())
        elif field.name in ("input", "input_shape", "input_dim"):
            getattr(out, field.name).extend(value)
        elif field.name == "state":
            out.state.CopyFrom(value)
        else:
            setattr(out, field.name, value)
    return out


def _upgrade_v1_layer(old: pb.V1LayerParameter, new: pb.LayerParameter) -> None:
    for field, value in old.ListFields():
        if field.name in _NOT_COPIED:
            continue
        if hasattr(value, "extend"):
            getattr(new, field.name).extend(value)
        elif field.message_type is not None:
            getattr(new, field.name).CopyFrom(value)
        else:
            setattr(new, field.name, value)
    if old.HasField("type"):
        new.type = _type_name(pb.V1LayerParameter.LayerType.Name(old.type))
    _blob_settings(old, new)


def _type_name(old: str) -> str:
    return _ODD_TYPES.get(old, old.title().replace("_", ""))


def _blob_settings(old: pb.V1LayerParameter, new: pb.LayerParameter) -> None:
    """Join four lists with an entry per blob, each as long as it likes, into one."""
    count = max(len(old.param), len(old.blob_share_mode), len(old.blobs_lr), len(old.weight_decay))
    for i in range(count):
        spec = new.param.add()
        if i < len(old.param):
            spec.name = old.param[i]
        if i < len(old.blob_share_mode):
            spec.share_mode = old.blob_share_mode[i]  # type: ignore[assignment]
        if i < len(old.blobs_lr):
            spec.lr_mult = old.blobs_lr[i]
        if i < len(old.weight_decay):
            spec.decay_mult = old.weight_decay[i]


def _upgrade_inputs(net: pb.NetParameter, source: str) -> pb.NetParameter:
    """Turn the old ``input:`` fields into an Input layer named "input" at the front."""
    out: pb.NetParameter = _copy(net)
    for old in ("input", "input_shape", "input_dim"):
        out.ClearField(old)
    count = len(net.input)
    if not (net.input_shape or net.input_dim):
        LOG.warning(f"{source}: input without input_shape or input_dim means nothing: dropped")
        return out
    del out.layer[:]
    front = out.layer.add(name="input", type="Input", top=net.input)
    if net.input_shape:
        if len(net.input_shape) != count:
            raise UserError(
                f"{source}: {count} inputs need as many input_shape, "
                f"but there are {len(net.input_shape)}"
            )
        front.input_param.shape.extend(net.input_shape)
    else:
        if len(net.input_dim) != 4 * count:
            raise UserError(
                f"{source}: {count} inputs need {4 * count} input_dim entries, "
                f"but there are {len(net.input_dim)}"
            )
        for i in range(count):
            front.input_param.shape.add(dim=net.input_dim[4 * i : 4 * i + 4])
    out.layer.extend(net.layer)
    return out


def _has_old_params(layer: pb.LayerParameter) -> bool:
    """Three entries were needed once to keep a BatchNorm's sums from learning."""
    return layer.type == "BatchNorm" and len(layer.param) == 3


def _upgrade_batch_norm(net: pb.NetParameter) -> pb.NetParameter:
    out: pb.NetParameter = _copy(net)
    for layer in out.layer:
        if _has_old_params(layer):
            layer.ClearField("param")
    return out
