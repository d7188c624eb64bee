"""A detector's weights for other classes: the rows of those that it knows already.

A prediction's outputs count priors first and classes within: output ``p * classes + c``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto.blobs import array_of, blob_of, blob_shape
from scratchdet_caffe.errors import UserError

Shape = tuple[int, ...]

SYNONYMS = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}
"""VOC's word -> COCO's."""


def positions(old: Sequence[str], new: Sequence[str]) -> list[int]:
    """Return where each of the ``new`` classes is among the ``old``, VOC's and COCO's words alike.

    Raises:
        UserError: Some of ``new`` are not among ``old``.
    """
    place = {SYNONYMS.get(name, name): i for i, name in enumerate(old)}
    missing = [name for name in new if SYNONYMS.get(name, name) not in place]
    if missing:
        raise UserError(f"the weights know no {', '.join(missing)}; they know {', '.join(old)}")
    return [place[SYNONYMS.get(name, name)] for name in new]


def select_classes(
    model: pb.NetParameter,
    wanted: Mapping[str, Sequence[Shape]],
    old: int,
    kept: Sequence[int],
) -> tuple[pb.NetParameter, list[str]]:
    """Return the weights of ``model`` for a net whose predictions have the classes ``kept``.

    Args:
        model: Weights of a detector of ``old`` classes, background included.
        wanted: Shapes of the blobs of each layer of the net that is to load them.
        old: Number of classes of ``model``.
        kept: For each class of the net, its place among the old ones.

    Returns:
        The weights, and the layers whose rows were selected.

    Raises:
        UserError: A blob differs from the wanted one by more than classes.
    """
    selected, changed = pb.NetParameter(), []
    selected.CopyFrom(model)
    for layer in selected.layer:
        for i, (blob, shape) in enumerate(zip(layer.blobs, wanted.get(layer.name, ()))):
            found = blob_shape(blob)
            if found == tuple(shape):
                continue
            rows = found[0] // old * len(kept) if found and found[0] % old == 0 else 0
            if (rows, *found[1:]) != tuple(shape):
                raise UserError(
                    f"layer '{layer.name}': blob {i} of the weights is {_by(found)}, that of the "
                    f"net {_by(shape)}: they differ by more than classes"
                )
            data = array_of(blob).reshape(-1, old, *found[1:])[:, list(kept)]
            blob.CopyFrom(blob_of(data.reshape(shape)))
            changed += [layer.name] if layer.name not in changed else []
    return selected, changed


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "a number"
