"""Ground truth as rows, and as one padded set of boxes per image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ITEM, LABEL, BOX, DIFFICULT = 0, 1, slice(3, 7), 7  # columns of a row


@dataclass(frozen=True)
class GroundTruth:
    """The objects of a batch of N images, padded to the G >= 1 objects of the fullest.

    Attributes:
        boxes: (N, G, 4), normalised 0-1; padding is a box without area, which overlaps nothing.
        labels: (N, G) int64; padding has label -1.
    """

    boxes: Tensor
    labels: Tensor

    @property
    def present(self) -> Tensor:
        """Which images have any object, as bool (N,)."""
        return (self.labels >= 0).any(1)


def read_labels(rows: Tensor, num_classes: int, background: int) -> Tensor:
    """Return the labels (M,) of ground-truth rows (M, 8) as int64.

    With two classes every label from 2 on is read as 1: RefineDet's anchor refinement tells
    objects from background, on the labels of all classes.

    Raises:
        ValueError: A label is the background's, negative or too large.
    """
    labels = rows[:, LABEL].long()
    if num_classes == 2:
        labels = labels.clamp(max=1)
    for label in sorted(set(labels.tolist())):
        if label == background:
            raise ValueError(f"ground truth has label {label}, which is the background's")
        if not 0 <= label < num_classes:
            raise ValueError(f"ground truth has label {label}, but num_classes is {num_classes}")
    return labels


def ground_truth(
    rows: Tensor, images: int, num_classes: int, background: int, use_difficult: bool
) -> GroundTruth:
    """Sort ground-truth rows by image.

    Args:
        rows: The label blob (1, 1, M, 8) or (M, 8): image, label, instance, xmin, ymin, xmax,
            ymax, difficult. Rows of image -1 are padding.
        images: Number of images N in the batch.
        num_classes: Number of classes, background included.
        background: Label of the background.
        use_difficult: Whether difficult objects count.

    Returns:
        The objects on the device of ``rows``.

    Raises:
        ValueError: A label is the background's, negative or too large.
    """
    device = rows.device
    rows = rows.detach().reshape(-1, 8).cpu()  # a few numbers: no kernels, one wait for all
    item = rows[:, ITEM]
    rows = rows[(item >= 0) & (item < images)]
    labels = read_labels(rows, num_classes, background)
    if not use_difficult:
        easy = rows[:, DIFFICULT] == 0
        rows, labels = rows[easy], labels[easy]
    image = rows[:, ITEM].long()
    image, order = image.sort(stable=True)
    count = torch.bincount(image, minlength=images)
    place = torch.arange(len(image)) - (count.cumsum(0) - count)[image]
    shape = (images, max(1, int(count.max())))
    boxes = torch.zeros(*shape, 4)
    boxes[image, place] = rows[order, BOX]
    padded = torch.full(shape, -1)
    padded[image, place] = labels[order]
    return GroundTruth(boxes.to(device), padded.to(device))
