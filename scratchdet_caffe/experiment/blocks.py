"""Residual blocks: which convolutions they have, and how those are named."""

from __future__ import annotations

from collections.abc import Sequence

from scratchdet_caffe.experiment.archs import EXPANSION, Arch, Stage
from scratchdet_caffe.experiment.body import Block, Conv
from scratchdet_caffe.experiment.names import NAMES, Names
from scratchdet_caffe.experiment.pyramid import KEEP, Window
from scratchdet_caffe.experiment.recipe import Backbone

MIN_CHANNELS = 8


def scaled(channels: int, width: float) -> int:
    """Return ``channels`` times ``width``, but no fewer than `MIN_CHANNELS`."""
    return max(MIN_CHANNELS, round(channels * width))


def make_blocks(
    arch: Arch, stage: Stage, window: Window, below: int, backbone: Backbone, stated: bool = False
) -> tuple[Block, ...]:
    """Lay out the blocks of ``stage`` on a map of ``below`` channels.

    ``window`` is that of the first block; ``stated`` writes its stride even where it is 1.
    """
    names, blocks = NAMES[arch.family], []
    channels = scaled(stage.channels, backbone.width)
    widths: tuple[int, ...] = (channels, channels)
    if arch.block == "bottleneck":
        widths = (channels, channels, EXPANSION * channels)
    for i in range(stage.blocks):
        if i > 0:
            window, stated = KEEP, False
        blocks.append(
            make_block(
                names.convs(stage, i, len(widths)),
                widths,
                window,
                names.projection(stage, i) if window != KEEP or widths[-1] != below else None,
                names.sum(stage, i),
                names,
                backbone.preactivation,
                stated,
            )
        )
        below = widths[-1]
    return tuple(blocks)


def make_block(
    convs: Sequence[str],
    channels: Sequence[int],
    window: Window,
    projection: str | None,
    total: str,
    names: Names,
    preactivation: bool,
    stated: bool = False,
) -> Block:
    """Make a residual block of two convolutions (3x3, 3x3) or three (1x1, 3x3, 1x1).

    The first has ``window``'s stride, the first 3x3 its padding. A block without padding loses
    a border of one cell, and so does the 3x3 window of its shortcut.
    """
    kernels = (1, 3, 1) if len(convs) == 3 else (3, 3)
    made: list[Conv] = []
    stride, pad = window.stride, window.pad
    for name, width, kernel in zip(convs, channels, kernels):
        written = stride if stride > 1 or stated or names.states_strides else None
        made.append(Conv(name, width, kernel, names.behind(name), pad * (kernel == 3), written))
        if kernel == 3:
            pad = 1
        stride, stated = 1, False
    shortcut = None
    if projection:
        kernel = 1 if window.pad else 3
        behind = names.behind(projection)
        shortcut = Conv(projection, channels[-1], kernel, behind, 0, window.stride)
    return Block(tuple(made), shortcut, total, names.behind(total), preactivation)
