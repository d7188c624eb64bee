"""Boxes in whole pictures: sizes from a file, boxes scaled to pixels, overlap in pixels.

Used where DetectionEvaluate has a ``name_size_file``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto.namesize import read_name_size

_R = pb.ResizeParameter


def read_sizes(path: str) -> Tensor:
    """Return the sizes (K, 2), height and width in pixels, in a name_size file.

    Raises:
        UserError: See `read_name_size`.
    """
    return torch.tensor([row[1:] for row in read_name_size(path)], dtype=torch.float32)


def to_pixels(boxes: Tensor, size: Tensor, resize: pb.ResizeParameter | None) -> Tensor:
    """Scale normalised boxes of a resized picture to pixels of the original.

    Args:
        boxes: (..., 4), normalised 0-1 in what the net saw.
        size: (..., 2), height and width of the original, broadcastable to ``boxes``.
        resize: How the original became what the net saw; None if it was just scaled.

    Returns:
        Boxes (..., 4), clipped to the picture.
    """
    size = size.flip(-1)  # (width, height), in the order of a box
    limit = torch.cat([size, size], dim=-1)
    if resize is not None and resize.resize_mode == _R.FIT_SMALL_SIZE and _has_scale(resize):
        scale = boxes.new_tensor([resize.width_scale, resize.height_scale]).repeat(2)
        return torch.minimum((boxes * scale).clamp(min=0), limit)
    if resize is not None and resize.resize_mode == _R.FIT_LARGE_SIZE_AND_PAD:
        boxes = _without_padding(boxes, size, resize)
    return boxes.clamp(0, 1) * limit


def pixel_overlap(a: Tensor, b: Tensor, resize: pb.ResizeParameter | None) -> Tensor:
    """Return the Jaccard overlap of broadcastable boxes in pixels (..., 4).

    A side from xmin to xmax is xmax - xmin + 1 long, with Caffe's three oddities: disjoint boxes
    share one pixel; an inverted box has area 0; and after FIT_SMALL_SIZE with a scale the areas
    (but not the intersection) go without the 1.
    """
    low = torch.maximum(a[..., :2], b[..., :2])
    high = torch.minimum(a[..., 2:], b[..., 2:])
    disjoint = (high < low).any(-1, keepdim=True)
    shared = (high - low + 1).masked_fill(disjoint, 1).prod(-1)
    fits_small = resize is not None and resize.resize_mode == _R.FIT_SMALL_SIZE
    one = 0 if resize is not None and fits_small and _has_scale(resize) else 1
    return shared / (_area(a, one) + _area(b, one) - shared)


def _area(boxes: Tensor, one: int) -> Tensor:
    sides = boxes[..., 2:] - boxes[..., :2]
    return (sides + one).prod(-1).masked_fill((sides < 0).any(-1), 0)


def _has_scale(resize: pb.ResizeParameter) -> bool:
    return resize.height_scale > 0 and resize.width_scale > 0


def _without_padding(boxes: Tensor, size: Tensor, resize: pb.ResizeParameter) -> Tensor:
    """Normalise boxes in a padded picture to the picture without its padding.

    A box that lies in the padding altogether stays as it is, as in Caffe.
    """
    room = boxes.new_tensor([resize.width, resize.height])
    # The picture fills the canvas along one axis; along the other it is centred.
    filled = size * (room / size).amin(-1, keepdim=True) / room
    start = (1 - filled) / 2
    seen = (boxes[..., :2] < 1 - start) & (boxes[..., 2:] > start)
    inside = (boxes - start.tile(2)) / filled.tile(2)
    return torch.where(seen.all(-1, keepdim=True), inside, boxes)
