"""Prior boxes: the default boxes that a PriorBox layer lays over its map."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.shapes.detection import aspect_ratios


def prior_boxes(
    param: pb.PriorBoxParameter, map_size: tuple[int, int], image_size: tuple[int, int]
) -> Tensor:
    """Return the prior boxes of one map and their variances (layer PriorBox).

    Args:
        param: Sizes in pixels, aspect ratios, step, offset, variances.
        map_size: Height and width of the feature map.
        image_size: Height and width of the image in pixels; ``img_size`` or ``img_h`` and
            ``img_w`` of ``param`` take precedence.

    Returns:
        (1, 2, H * W * K * 4): first the corners, normalised 0-1, cell by cell in rows; then
        the four variances of each box.
    """
    image = _per_axis(param, "img_size", "img_h", "img_w") or image_size
    step = _per_axis(param, "step", "step_h", "step_w") or (
        image[0] / map_size[0],
        image[1] / map_size[1],
    )
    # Float32 where Caffe rounds to float32 (steps, centres, sides), double where it divides.
    centers = [
        (torch.arange(cells, dtype=torch.float32) + param.offset) * torch.tensor(size)
        for cells, size in zip(map_size, step)
    ]
    y, x = torch.meshgrid(*(center.double() for center in centers), indexing="ij")
    center = torch.stack([x, y], dim=-1)[:, :, None]  # (H, W, 1, 2)
    half = torch.tensor(_sides(param), dtype=torch.float32).double() / 2  # (K, 2)
    scale = torch.tensor([image[1], image[0]], dtype=torch.float64)
    boxes = torch.cat([(center - half) / scale, (center + half) / scale], dim=-1).float()
    if param.clip:
        boxes = boxes.clamp(0, 1)
    variance = list(param.variance) or [0.1]
    variances = torch.tensor(variance, dtype=torch.float32).expand(*boxes.shape[:3], 4)
    return torch.stack([boxes.flatten(), variances.flatten()])[None]


def _sides(param: pb.PriorBoxParameter) -> list[tuple[float, float]]:
    """Width and height in pixels of the K boxes of a cell, in Caffe's order."""
    # Caffe takes this root in float32.
    roots = torch.tensor(aspect_ratios(param)[1:], dtype=torch.float32).sqrt().tolist()
    sides = []
    for i, size in enumerate(param.min_size):
        side = int(size)  # Caffe keeps sizes as whole pixels
        sides.append((float(side), float(side)))
        if param.max_size:
            between = math.sqrt(side * int(param.max_size[i]))
            sides.append((between, between))
        sides += [(side * root, side / root) for root in roots]
    return sides


def _per_axis(
    param: pb.PriorBoxParameter, both: str, high: str, wide: str
) -> tuple[float, float] | None:
    """Vertical and horizontal value of a field given once or per axis; None if not given."""
    if value := getattr(param, both):
        return value, value
    if getattr(param, high):
        return getattr(param, high), getattr(param, wide)
    return None
