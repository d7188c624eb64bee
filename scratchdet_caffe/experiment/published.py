"""The nets kept under ``models/``: a test renders each again and compares (``gen --check``)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from scratchdet_caffe.experiment.job import Job
from scratchdet_caffe.experiment.plan import plan


@dataclass(frozen=True)
class Entry:
    """A job of `PUBLISHED`, in the words that ``gen`` takes.

    Attributes:
        row: What it is: a row of a table of the paper, or a detector that others published.
        arch, dataset, recipe: As `plan` takes them.
        words: More of `plan`'s arguments.
    """

    row: str
    arch: str
    dataset: str
    recipe: str
    words: dict[str, Any] = field(default_factory=dict)

    def job(self, out: str = "models") -> Job:
        """Return the job, rendered below ``out``."""
        return plan(self.arch, self.dataset, self.recipe, out=out, **self.words)


IMAGENET = "models/VGGNet/VGG_ILSVRC_16_layers_fc_reduced.caffemodel"
VOC, VOC12, COCO = "voc0712", "voc0712plus", "coco"

TABLE_1 = (
    ("none", False, 0.001),
    ("head", False, 0.01),
    ("backbone", False, 0.05),
    ("both", False, 0.05),
    ("head", True, 0.001),
    ("both", True, 0.01),
)
"""BatchNorm where, pretrained or not, the best of the row's rates."""


def _table_1() -> Iterator[Entry]:
    for bn, pretrained, rate in TABLE_1:
        settings = [f"solver.base_lr={rate}"]
        if rate > 0.001:  # the runs with higher rates step earlier
            settings.append("solver.stepvalue=[50000, 75000, 120000]")
        words: dict[str, Any] = {"bn": bn, "settings": settings}
        start = "from scratch"
        if pretrained:
            start = "pretrained"
            words |= {"weights": IMAGENET, "name": f"paper_300_bn-{bn}_pretrained"}
        row = f"Table 1: SSD300, VGG-16, BatchNorm {bn}, {start}"
        yield Entry(row, "vgg16", VOC, "paper", words)


def _stems() -> Iterator[Entry]:
    for arch in ("resnet18", "resnet18_a", "resnet18_b", "root_resnet18"):
        yield Entry(f"The stem study: {arch}", arch, VOC, "paper")


def _scratchdet() -> Iterator[Entry]:
    for data in (VOC, VOC12, COCO):
        yield Entry(f"ScratchDet300 on {data}", "root_resnet34", data, "paper")
    words = {"settings": ["backbone.extras=plain"], "name": "paper_300_plain-extras"}
    row = "ScratchDet300 with plain extra levels"
    yield Entry(row, "root_resnet34", VOC, "paper", words)
    yield Entry("ScratchDet300 on coco, smaller backbone", "root_resnet18", COCO, "paper")
    for data in (VOC, VOC12):
        row = f"ScratchDet300, COCO -> {data}"
        yield Entry(row, "root_resnet34", data, "paper-finetune")
    for arch in ("root_resnet34", "root_resnet18"):
        for data in (VOC, COCO):
            yield Entry(f"The Caffe release: {arch} on {data}", arch, data, "release-caffe")
    for size in (300, 512):
        row = f"The mmdetection release, {size}"
        yield Entry(row, "root_resnet34", "coco2017", "release-mmdet", {"size": size})


def _references() -> Iterator[Entry]:
    for data in (VOC, VOC12, COCO):
        for size in (300, 512):
            yield Entry(f"SSD{size} on {data}", "vgg16", data, "ssd", {"size": size})
        for size in (320, 512):
            yield Entry(f"RefineDet{size} on {data}", "vgg16", data, "refinedet", {"size": size})
    for size in (320, 512):
        words = {"size": size}
        row = f"RefineDet{size}, ResNet-101, on coco"
        yield Entry(row, "resnet101", COCO, "refinedet", words)
        for data in (VOC, VOC12):
            row = f"RefineDet{size}, COCO -> {data}"
            yield Entry(row, "vgg16", data, "refinedet-finetune", words)


PUBLISHED: tuple[Entry, ...] = (*_table_1(), *_stems(), *_scratchdet(), *_references())
