"""The first blob that is not finite, in words, through the pycaffe API."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_net
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.training.run import Run

MOST_RECORDS = 8
_PARAMETER = "its parameter blob"


@dataclass(frozen=True)
class Found:
    """The first number that is not finite.

    Attributes:
        sentence: Its layer, blob and batch.
        in_weights: Whether it is a parameter: then no other batch is any better.
        given: Whether it came from the data or from a layer in Python, and not of the weights.
    """

    sentence: str
    in_weights: bool
    given: bool = False


def find_culprit(run: Run) -> Found | None:
    """Return the first number of this iteration that is not finite, if it can be found.

    The embedded engine makes the iteration again to find it; SSD-Caffe still has all blobs, of
    which one that layers work on in place shows what the last of them made.
    """
    if hasattr(run.solver, "find_culprit"):
        found = run.solver.find_culprit()
        if found is None:
            return None
        sentence, in_weights = _sentence(found.layer, found.what, found.records), found.in_weights
        return Found(sentence, in_weights, _is_given(run.solver.net, found.layer))
    for layer, what in _odd_blobs(run.solver.net):
        sentence, in_weights = _sentence(layer, what, _records(run)), what.startswith(_PARAMETER)
        return Found(sentence, in_weights, _is_given(run.solver.net, layer))
    return None


def _is_given(net: Any, name: str) -> bool:
    """Whether what the layer makes does not follow from what Caffe's own layers computed."""
    layer = dict(zip(net._layer_names, net.layers))[name]
    return layer.type == "Python" or not net.bottom_names[name]


def find_spoilt_blob(solver: Any) -> str:
    """Name the first parameter blob, BatchNorm's sums among them, that is not finite; else ""."""
    if hasattr(solver, "find_spoilt_blob"):
        return str(solver.find_spoilt_blob())
    for layer, blobs in solver.net.params.items():
        for i, blob in enumerate(blobs):
            if word := _odd(blob.data):
                return f"blob {i} of layer '{layer}' holds {word}"
    return ""


def _sentence(layer: str, what: str, records: Iterable[str]) -> str:
    keys = list(records)
    more = f" and {len(keys) - MOST_RECORDS} more" if len(keys) > MOST_RECORDS else ""
    batch = f" (batch: {', '.join(keys[:MOST_RECORDS])}{more})" if keys else ""
    return f"the first layer with such a number is '{layer}': {what}{batch}"


def _odd_blobs(net: Any) -> Iterator[tuple[str, str]]:
    """Layers and words for blobs that are not finite, in the order of their computation."""
    layers = dict(zip(net._layer_names, net.layers))
    for name, layer in layers.items():
        for i, blob in enumerate(layer.blobs if layer.type != "BatchNorm" else ()):
            if word := _odd(blob.data):
                yield name, f"{_PARAMETER} {i} holds {word}"
        for top in net.top_names[name]:
            if word := _odd(net.blobs[top].data):
                yield name, f"its top '{top}' holds {word}"
    for name, layer in reversed(layers.items()):
        for bottom in net.bottom_names[name]:
            if word := _odd(net.blobs[bottom].diff):
                yield name, f"the gradient of its bottom '{bottom}' holds {word}"
        for i, blob in enumerate(layer.blobs):
            if word := _odd(blob.diff):
                yield name, f"the gradient of its parameter blob {i} holds {word}"


def _odd(values: Any) -> str:
    array = np.asarray(values)
    if np.isfinite(array).all():
        return ""
    return "nan" if np.isnan(array).any() else "inf"


def _records(run: Run) -> list[str]:
    """The keys of the batch: SSD-Caffe reads record after record, from the first at its start."""
    from scratchdet_caffe.data.sources import open_records

    keys = []
    for field in ("train_net", "net"):
        if run.param.HasField(field):
            for layer in read_net(getattr(run.param, field)).layer:
                if layer.type == "AnnotatedData" and _is_trained_on(layer):
                    count = layer.data_param.batch_size * run.param.iter_size
                    begin = (run.iteration - run.first_iteration) * count
                    try:
                        source = open_records(layer, pb.TRAIN)
                    except UserError:
                        continue
                    keys += [source.key(i % len(source)) for i in range(begin, begin + count)]
    return keys


def _is_trained_on(layer: pb.LayerParameter) -> bool:
    return all(rule.phase == pb.TRAIN for rule in layer.include if rule.HasField("phase"))
