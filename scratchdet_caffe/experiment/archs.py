"""Backbones as data: an arch is stages, channels and strides; its template is the layout."""

from __future__ import annotations

from dataclasses import dataclass

from scratchdet_caffe.experiment.registry import Registry


@dataclass(frozen=True)
class Stage:
    """A row of basic blocks at one resolution.

    Attributes:
        name: Prefix of its convolutions: ``conv4`` has ``conv4_1``, ``conv4_2``, ...
        blocks: Number of basic blocks, two 3x3 convolutions each.
        channels: Output channels of every convolution, before the width multiplier.
        stride: Stride of the first convolution; None where the stage keeps its input's map.
    """

    name: str
    blocks: int
    channels: int
    stride: int | None = None


@dataclass(frozen=True)
class Arch:
    """A backbone with the rule for its extra feature levels.

    Attributes:
        name: The word that users type.
        about: One line for ``gen --list``.
        template: File under ``templates/backbones/`` that lays the layers out.
        stem: Channels of the root block's 3x3 convolutions, all at full resolution.
        stages: The stages after the stem and its 2x2/2 pool.
        extras: Channels of the levels that follow, one entry per level, the last one repeated
            where an input is large enough for more. ``(c,)`` is a residual block of ``c``
            channels; ``(r, c)`` is SSD's plain pair, 1x1 to ``r`` and 3x3 to ``c`` channels.
    """

    name: str
    about: str
    template: str
    stem: tuple[int, ...]
    stages: tuple[Stage, ...]
    extras: tuple[tuple[int, ...], ...]


ARCHS: Registry[Arch] = Registry("arch")
"""Word -> `Arch`. An entry is enough for a new depth or width; a new kind of block also needs
a template under ``templates/backbones/``."""


def _root_resnet(blocks: tuple[int, int, int, int]) -> tuple[Stage, ...]:
    two, three, four, five = blocks
    return (
        Stage("conv2", two, 64),
        Stage("conv3", three, 128, 2),
        Stage("conv4", four, 256, 2),
        Stage("conv5", five, 512, 2),
    )


ARCHS.add(
    Arch(
        name="root_resnet34",
        about="Root-ResNet-34: three 3x3 stem convolutions, residual extra levels (ScratchDet)",
        template="root_resnet",
        stem=(64, 64, 64),
        stages=_root_resnet((3, 4, 6, 3)),
        extras=((128,), (128,), (128,), (128,)),
    )
)
ARCHS.add(
    Arch(
        name="root_resnet18",
        about="Root-ResNet-18: the same stem, SSD's plain extra levels",
        template="root_resnet",
        stem=(64, 64, 64),
        stages=_root_resnet((2, 2, 2, 2)),
        extras=((256, 512), (128, 256), (128, 256), (128, 256)),
    )
)
