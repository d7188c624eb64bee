"""Sizes and colours of the drawing."""

from __future__ import annotations

MARGIN = 16.0
BOX = (180.0, 34.0)
HEAD = (172.0, 76.0)
HEAD_GAP = 8.0
NECK = (132.0, 34.0)
ROW_GAP = 22.0
COLUMN_GAP = 14.0
LANE = 18.0
STAGE_HEAD = 22.0
STAGE_GAP = 8.0
FOLD_ROOM = 78.0  # beside a block that repeats: how often
SIDE_GAP = 36.0  # between the backbone and what is drawn beside it

#: Kind -> (fill, stroke, name in the legend), in the order of the legend.
COLOURS = {
    "input": ("#ffffff", "#777777", "input"),
    "convolution": ("#dce8f7", "#4f7fb5", "convolution"),
    "deconvolution": ("#e4d9f5", "#7f5db0", "deconvolution"),
    "pooling": ("#fde6cb", "#c58a35", "pooling"),
    "inner product": ("#d3ecea", "#3f918b", "fully connected"),
    "join": ("#ececec", "#777777", "sum, concat, slice"),
    "other": ("#f6f4d6", "#a39a3c", "other"),
    "ARM": ("#fadfea", "#b9537f", "ARM predictions"),
    "head": ("#dbf0d3", "#5a9a3f", "predictions"),
    "output": ("#f8d9d6", "#b9524a", "loss, detections"),
}
SOURCE = "#2f7d16"
LINE = "#666666"
SHORTCUT = "#9a9a9a"
PANEL = ("#f7f9fb", "#c9d3de")
FOLD = "#8a97a6"

_KINDS = {
    "Input": "input",
    "Convolution": "convolution",
    "DepthwiseConvolution": "convolution",
    "Deconvolution": "deconvolution",
    "Pooling": "pooling",
    "SPP": "pooling",
    "ROIPooling": "pooling",
    "InnerProduct": "inner product",
    "Eltwise": "join",
    "Concat": "join",
    "Slice": "join",
    "Split": "join",
}


def kind_of(layer_type: str, part: str) -> str:
    """Return the kind (a key of `COLOURS`) of a layer of this type and part of the net."""
    if part in ("input", "output"):
        return part
    return _KINDS.get(layer_type, "other")
