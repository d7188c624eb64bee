"""A backbone at one size: every convolution named, every map measured, every tap decided."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment.archs import Arch, Stage
from scratchdet_caffe.experiment.pyramid import Window, halved, shrink, step_after
from scratchdet_caffe.experiment.recipe import Pyramid
from scratchdet_caffe.experiment.registry import unknown

MIN_CHANNELS = 8
TAPS = ("branch", "output")


@dataclass(frozen=True)
class Conv:
    """A convolution with what follows it; ``stride`` None is written nowhere and means 1."""

    name: str
    channels: int
    kernel: int
    pad: int
    stride: int | None = None


@dataclass(frozen=True)
class Block:
    """A pre-activation basic block: two convolutions beside a shortcut, then their sum.

    Attributes:
        conv1: First 3x3 convolution; it carries the block's stride.
        conv2: Second 3x3 convolution, the end of the residual branch.
        projection: Convolution on the shortcut; None for the identity.
        sum: Name of the sum. The layers that normalise and rectify it put the result into
            ``activated``.
        read: Whether anything reads the sum; a sum that nothing reads is not rendered.
    """

    conv1: Conv
    conv2: Conv
    projection: Conv | None
    sum: str
    read: bool = True

    @property
    def activated(self) -> str:
        return f"{self.sum}_act"


@dataclass(frozen=True)
class Level:
    """All layers between two changes of resolution: residual blocks or plain convolutions.

    Attributes:
        name: Prefix of its convolutions, e.g. ``conv4``.
        blocks: Residual blocks; empty for a plain level.
        plain: Convolutions, each with its BatchNorm and ReLU; empty for a residual level.
        cells: Side of its map.
        step: Pixels between the centres of its priors.
        tap: Blob that the head reads if the level is a source.
    """

    name: str
    blocks: tuple[Block, ...]
    plain: tuple[Conv, ...]
    cells: int
    step: float
    tap: str

    @property
    def channels(self) -> int:
        return self.blocks[-1].conv2.channels if self.blocks else self.plain[-1].channels


@dataclass(frozen=True)
class Body:
    """A backbone: stem, 2x2/2 pool, levels; ``sources`` are the levels that are predicted from."""

    template: str
    stem: tuple[Conv, ...]
    levels: tuple[Level, ...]
    first_source: int

    @property
    def sources(self) -> tuple[Level, ...]:
        return self.levels[self.first_source :]


def make_body(arch: Arch, size: int, width: float, pyramid: Pyramid) -> Body:
    """Lay ``arch`` out for a square input of ``size`` pixels and channels times ``width``.

    Raises:
        UserError: The input is too small for the stages, or the pyramid's words are unknown.
    """
    if pyramid.taps not in TAPS:
        raise unknown("value of pyramid.taps", pyramid.taps, list(TAPS))
    names = [stage.name for stage in arch.stages]
    if pyramid.first_source not in names:
        raise unknown("stage for pyramid.first_source", pyramid.first_source, names)
    if not width > 0:
        raise UserError(f"backbone.width is {width}, but must be above 0")
    stages = list(_stage_levels(arch, size, width, pyramid.taps))
    extras = _extra_levels(arch, size, width, pyramid, stages[-1])
    stem = tuple(
        Conv(f"stem_{i}", _scaled(channels, width), kernel=3, pad=1, stride=1 if i == 1 else None)
        for i, channels in enumerate(arch.stem, 1)
    )
    return Body(arch.template, stem, (*stages, *extras), names.index(pyramid.first_source))


def _stage_levels(arch: Arch, size: int, width: float, taps: str) -> Iterator[Level]:
    """Lay out the arch's own stages, from the pooled stem on."""
    cells, step = halved(size), 2.0
    below = _scaled(arch.stem[-1], width)
    for stage in arch.stages:
        if stage.stride:
            if cells == 1:
                least = 2 ** sum(bool(s.stride) for s in arch.stages) + 1
                raise UserError(
                    f"--size {size} is too small for {arch.name}: {stage.name} would find a map "
                    f"of one cell; use {least} or more"
                )
            cells, step = halved(cells), step * stage.stride
        is_last = stage is arch.stages[-1] and cells == 1
        channels = _scaled(stage.channels, width)
        blocks = _blocks(stage, channels, below, 1, read=not is_last or taps == "output")
        yield _residual_level(stage.name, blocks, cells, step, taps)
        below = channels


def _extra_levels(
    arch: Arch, size: int, width: float, pyramid: Pyramid, below: Level
) -> Iterator[Level]:
    """Go on from ``below`` to one cell: ``meant`` is the map by the rule, ``cells`` the built."""
    meant = cells = below.cells
    step, channels = below.step, below.channels
    widths_per_level = itertools.chain(arch.extras, itertools.repeat(arch.extras[-1]))
    for number, widths in enumerate(widths_per_level, len(arch.stages) + 2):
        if meant == 1:
            return
        name = f"conv{number}"
        *reduced, expanded = (_scaled(c, width) for c in widths)
        window = shrink(meant)
        meant = window.over(meant)
        step = step_after(window, step, meant, size)
        if name in pyramid.unshrunk:
            window = Window(stride=1, pad=1)
        cells = window.over(cells)
        if reduced:
            convs = (
                Conv(f"{name}_1", reduced[0], kernel=1, pad=0),
                Conv(f"{name}_2", expanded, 3, window.pad, window.stride),
            )
            yield Level(name, (), convs, cells, step, tap=convs[1].name)
        else:
            stage = Stage(name, 1, expanded, window.stride)
            read = meant > 1 or pyramid.taps == "output"
            blocks = _blocks(stage, expanded, channels, window.pad, read)
            yield _residual_level(name, blocks, cells, step, pyramid.taps)
        channels = expanded


def _blocks(stage: Stage, channels: int, below: int, pad: int, read: bool) -> tuple[Block, ...]:
    """Name the basic blocks of ``stage`` on a map of ``below`` channels.

    ``pad`` is that of the first convolution; ``read`` says whether the last sum is read.
    """
    blocks, stride = [], stage.stride
    for i in range(stage.blocks):
        if i > 0:
            stride, pad = None, 1
        conv1 = Conv(f"{stage.name}_{2 * i + 1}", channels, 3, pad, stride)
        conv2 = Conv(f"{stage.name}_{2 * i + 2}", channels, 3, 1)
        projection = None
        if (stride or 1) > 1 or pad == 0 or channels != below:
            # An unpadded block loses a border of one cell: a 3x3 shortcut loses the same one.
            kernel = 1 if pad else 3
            projection = Conv(f"{conv1.name}_proj", channels, kernel, 0, stride)
        total = f"res{stage.name.removeprefix('conv')}_{i + 1}"
        blocks.append(Block(conv1, conv2, projection, total, read or i < stage.blocks - 1))
        below = channels
    return tuple(blocks)


def _residual_level(
    name: str, blocks: tuple[Block, ...], cells: int, step: float, taps: str
) -> Level:
    last = blocks[-1]
    tap = last.conv2.name if taps == "branch" else last.activated
    return Level(name, blocks, (), cells, step, tap)


def _scaled(channels: int, width: float) -> int:
    return max(MIN_CHANNELS, round(channels * width))
