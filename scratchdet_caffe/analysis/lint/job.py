"""Rules about the nets of a job beside each other: training, test and deploy net."""

from __future__ import annotations

from collections.abc import Iterator

from scratchdet_caffe.analysis.fields import canonical_layer, differing_fields
from scratchdet_caffe.analysis.lint.rules import ERROR, WARNING, Hit, job_rule
from scratchdet_caffe.analysis.lint.subject import NO_DATA, Job, Net
from scratchdet_caffe.analysis.view import LOSSES, LayerView
from scratchdet_caffe.caffeproto import caffe_pb2 as pb

#: Fields that may differ between a training and a test net.
_ONLY_IN_TRAINING = ("param", "include", "exclude", "propagate_down", "loss_weight", "phase")
_MAY_DIFFER = {"weight_filler", "bias_filler", "filler", "scale_filler"}
_MAY_DIFFER |= {"use_global_stats", "moving_average_fraction", "engine", "force_nd_im2col"}
#: Fields of a MultiBoxLoss and what they are called in a DetectionOutput.
_SAME_IN_BOTH = {
    "num_classes": "num_classes",
    "share_location": "share_location",
    "background_label_id": "background_label_id",
    "code_type": "code_type",
    "encode_variance_in_target": "variance_encoded_in_target",
}
#: Layers that do something else in each net by nature.
_OWN = LOSSES | NO_DATA | {"Accuracy", "AnnotatedData", "Data", "ImageData", "HDF5Data", "Silence"}


def _others(job: Job) -> Iterator[tuple[Net, Net]]:
    """Yield the training net with each other net."""
    for other in (*job.tests, job.deploy):
        if job.train and other:
            yield job.train, other


@job_rule(
    "nets-differ",
    ERROR,
    why="the weights were trained for another layer: they do not load, or mean something else",
    do="make the layer the same in both nets (gen --diff shows them side by side)",
    known="nets edited by hand, one and not the other",
)
def nets_differ(job: Job) -> Iterator[Hit]:
    """A layer that computes something else in the test or deploy net than in training."""
    for train, other in _others(job):
        trained = {layer.name: layer for layer in train.view.layers if layer.type not in _OWN}
        for layer in other.view.layers:
            twin = trained.get(layer.name)
            if twin is None:
                continue
            for path, left, right in _differences(twin, layer):
                what = f"{path} is {right}, but {left} in training"
                yield Hit(what, layer.name, other.view.source)


def _differences(left: LayerView, right: LayerView) -> Iterator[tuple[str, str, str]]:
    if left.type != right.type:
        yield "type", left.type, right.type
        return
    for field in differing_fields(_computing(left), _computing(right)):
        if not set(field.path.split(".")) & _MAY_DIFFER:
            yield field.path, field.left, field.right


def _computing(layer: LayerView) -> pb.LayerParameter:
    """Return what ``layer`` computes: its message without its wiring and rates."""
    out = canonical_layer(layer.node.layer)
    for name in _ONLY_IN_TRAINING:
        out.ClearField(name)
    return out


@job_rule(
    "untrained-layer",
    ERROR,
    why="no weights are ever written for it: it stays as its filler made it",
    do="give it the name that it has in the training net",
    known="Caffe loads weights by layer name and skips what is not there",
)
def untrained_layer(job: Job) -> Iterator[Hit]:
    """A layer with weights in the test or deploy net that the training net does not have."""
    for train, other in _others(job):
        names = {layer.name for layer in train.view.layers}
        for layer in other.view.layers:
            if layer.spec and layer.spec.params and layer.name not in names:
                yield Hit("is not in the training net", layer.name, other.view.source)


@job_rule(
    "input-differs",
    ERROR,
    why="the net sees other numbers than those it was trained on",
    do="use one mean, scale and size in training and test",
    known="weiliu89/caffe#695 (68 % instead of 77 %)",
)
def input_differs(job: Job) -> Iterator[Hit]:
    """Test pictures with another mean, scale, size or colour than training pictures."""
    for train, other in _others(job):
        if not train.data or not other.data:
            continue
        ours, theirs = (_input(net.data.node.layer) for net in (train, other) if net.data)
        for name, value in theirs.items():
            if value != ours[name]:
                what = f"{name} is {value}, but {ours[name]} in training"
                # A fully convolutional net may be tested on another size.
                size = name in ("height", "width", "crop_size")
                yield Hit(
                    what, other.data.name, other.view.source, severity=WARNING if size else None
                )


def _input(layer: pb.LayerParameter) -> dict[str, object]:
    p = layer.transform_param
    return {
        "mean_value": ", ".join(f"{value:g}" for value in p.mean_value) or "not set",
        "mean_file": p.mean_file or "not set",
        "scale": f"{p.scale:g}",
        "force_gray": p.force_gray,
        "height": p.resize_param.height,
        "width": p.resize_param.width,
        "crop_size": p.crop_size,
    }


@job_rule(
    "output-differs",
    ERROR,
    why="boxes are decoded otherwise than they were encoded, or classes are counted otherwise",
    do="give the output layer the loss's num_classes, code_type, share_location, "
    "background_label_id and variance_encoded_in_target",
    known="the two messages repeat each other's fields",
)
def output_differs(job: Job) -> Iterator[Hit]:
    """A DetectionOutput that does not fit the MultiBoxLoss of the training net."""
    for train, other in _others(job):
        losses = [head.reader for head in train.heads if head.name != "ARM"]
        outputs = [head.reader for head in other.heads if head.name != "ARM"]
        for loss, output in zip(losses, outputs):
            if (loss.type, output.type) != ("MultiBoxLoss", "DetectionOutput"):
                continue
            p, q = loss.node.layer.multibox_loss_param, output.node.layer.detection_output_param
            for ours, theirs in _SAME_IN_BOTH.items():
                left, right = _text(p, ours), _text(q, theirs)
                if left != right:
                    what = f"{theirs} is {right}, but {ours} is {left} in '{loss.name}'"
                    yield Hit(what, output.name, other.view.source)


def _text(p: pb.MultiBoxLossParameter | pb.DetectionOutputParameter, name: str) -> str:
    value, field = getattr(p, name), p.DESCRIPTOR.fields_by_name[name]
    if field.enum_type is not None:
        return str(field.enum_type.values_by_number[value].name)
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


@job_rule(
    "same-database",
    WARNING,
    why="real Caffe stops (two layers of one name read one source), and the score is that of "
    "pictures that the net has learnt",
    do="test on other pictures, or give the test net's data layer another name",
    known="the reference's log of such a run (data_reader.cpp)",
)
def same_database(job: Job) -> Iterator[Hit]:
    """A training and a test net that read one database."""
    for train, other in _others(job):
        if train.data and other.data:
            ours, theirs = (net.data.node.layer for net in (train, other) if net.data)
            source = theirs.data_param.source or theirs.image_data_param.source
            if source and source == (ours.data_param.source or ours.image_data_param.source):
                yield Hit(
                    f"reads '{source}', as the training net does", theirs.name, other.view.source
                )
