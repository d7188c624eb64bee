"""Backbones as data: an arch is a stem, stages and the kind of its blocks.

``layout.py`` turns an arch into named layers for one input size and one recipe, and
``templates/backbone.j2`` writes them.
"""

from __future__ import annotations

from dataclasses import dataclass

from scratchdet_caffe.experiment.registry import Registry

PLAIN_EXTRAS = ((256, 512), (128, 256))
"""SSD's extra levels: channels of a 1x1 and a 3x3 convolution; the last entry repeats."""

RESIDUAL_EXTRA = 128
"""ScratchDet's (and RefineDet's) extra levels: channels of one residual block each."""

EXPANSION = 4
"""A bottleneck block puts out this many times the channels of its 3x3 convolution."""


@dataclass(frozen=True)
class Stem:
    """The root block: what an image meets first.

    Attributes:
        number: Number of convolutions.
        kernel: Side of their windows, padded so that the map keeps its side.
        channels: Of each, before the width multiplier.
        stride: Stride of the first.
        pool: Side of the max-pool's window (stride 2) behind them; 0 for no pool.
    """

    number: int
    kernel: int
    channels: int
    stride: int
    pool: int


@dataclass(frozen=True)
class Stage:
    """A row of blocks, or of plain convolutions, at one resolution.

    Attributes:
        name: ``conv2`` and on; the number behind ``conv`` appears in the names of its layers.
        blocks: Number of residual blocks, or of convolutions where the arch is plain.
        channels: Of every 3x3 convolution, before the width multiplier.
        stride: Of its first convolution; a plain stage is pooled before instead.
        numbered: ResNet's name for its blocks after the first: ``4b1``, not ``4b``.
    """

    name: str
    blocks: int
    channels: int
    stride: int = 1
    numbered: bool = False

    @property
    def number(self) -> int:
        return int(self.name.removeprefix("conv"))


@dataclass(frozen=True)
class Arch:
    """A backbone.

    Attributes:
        name: The word that users type.
        about: One line for ``gen --list``.
        family: ``root_resnet``, ``resnet`` or ``vgg``: how layers are named; also a word of a
            recipe's ``when``.
        block: ``basic`` (two 3x3 convolutions), ``bottleneck`` (1x1, 3x3, 1x1) or ``plain``;
            a word of ``when``, too.
        stem: The root block; None where the stages begin at the image.
        stages: From the finest to the coarsest.
        extras: The kind of the levels behind the stages, ``residual`` or ``plain``.
        fc: Channels of VGG's fully connected layers, made convolutions; 0 for none.
    """

    name: str
    about: str
    family: str
    block: str
    stem: Stem | None
    stages: tuple[Stage, ...]
    extras: str = "plain"
    fc: int = 0


ARCHS: Registry[Arch] = Registry("arch")
"""Word -> `Arch`. An entry is enough for a new depth, width or stem."""

ROOT = Stem(number=3, kernel=3, channels=64, stride=1, pool=2)
ORIGINAL = Stem(number=1, kernel=7, channels=64, stride=2, pool=3)

DOWNSAMPLING = {
    "": (ORIGINAL, "7x7/2 convolution and 3x3/2 max-pool"),
    "_a": (Stem(1, 7, 64, stride=2, pool=0), "7x7/2 convolution, no max-pool (ResNet-A)"),
    "_b": (Stem(1, 7, 64, stride=1, pool=3), "7x7/1 convolution and max-pool (ResNet-B)"),
}
"""The paper's study of where ResNet loses resolution: suffix of the arch -> stem."""

DEPTHS = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
}
"""Depth -> kind of block and number of blocks in conv2 .. conv5."""


def _stages(depth: int) -> tuple[Stage, ...]:
    strides, channels = (1, 2, 2, 2), (64, 128, 256, 512)
    return tuple(
        Stage(f"conv{i + 2}", blocks, channels[i], strides[i], numbered=depth > 50 and i in (1, 2))
        for i, blocks in enumerate(DEPTHS[depth][1])
    )


for _depth, _extras in ((34, "residual"), (18, "plain")):
    ARCHS.add(
        Arch(
            name=f"root_resnet{_depth}",
            about=f"Root-ResNet-{_depth}: three 3x3 stem convolutions, {_extras} extra levels",
            family="root_resnet",
            block="basic",
            stem=ROOT,
            stages=_stages(_depth),
            extras=_extras,
        )
    )
for _depth, (_block, _) in DEPTHS.items():
    for _suffix, (_stem, _about) in DOWNSAMPLING.items():
        ARCHS.add(
            Arch(
                name=f"resnet{_depth}{_suffix}",
                about=f"ResNet-{_depth}: {_about}",
                family="resnet",
                block=_block,
                stem=_stem,
                stages=_stages(_depth),
            )
        )
ARCHS.add(
    Arch(
        name="vgg16",
        about="VGG-16, fully connected layers as (dilated) convolutions, SSD's extra levels",
        family="vgg",
        block="plain",
        stem=None,
        stages=(
            Stage("conv1", 2, 64),
            Stage("conv2", 2, 128, 2),
            Stage("conv3", 3, 256, 2),
            Stage("conv4", 3, 512, 2),
            Stage("conv5", 3, 512, 2),
        ),
        fc=1024,
    )
)
