"""An arch laid out for one input size: every layer named, every map measured."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment.archs import (
    PLAIN_EXTRAS,
    RESIDUAL_EXTRA,
    Arch,
    Stage,
    Stem,
)
from scratchdet_caffe.experiment.blocks import make_blocks, scaled
from scratchdet_caffe.experiment.body import Block, Body, Conv, Level, Pool, new_conv
from scratchdet_caffe.experiment.names import NAMES, Names, suffixed, vgg_behind
from scratchdet_caffe.experiment.pyramid import HALVE, KEEP, Window, shrink, step_after
from scratchdet_caffe.experiment.recipe import Backbone, Pyramid
from scratchdet_caffe.experiment.registry import unknown

LARGEST_SIZE = 4096
"""Pixels: what is beyond is a slip, and its nets would take hours to lay out."""

TAPS = ("branch", "output")
EXTRAS = ("residual", "plain")


class _TooSmall(Exception):
    """A stride meets a map of one cell; the argument is the level's name."""


@dataclass(frozen=True)
class _Top:
    """The end of what is laid out so far."""

    cells: int
    step: float
    channels: int

    def after(self, window: Window, level: str, pooled: bool = False) -> _Top:
        """Return the end behind one more layer that moves ``window`` over the map."""
        if window.stride > 1 and self.cells == 1:
            raise _TooSmall(level)
        cells = window.pooled(self.cells) if pooled else window.over(self.cells)
        return _Top(cells, self.step * window.stride, self.channels)


def make_body(arch: Arch, size: int, backbone: Backbone, pyramid: Pyramid) -> Body:
    """Lay ``arch`` out for a square input of ``size`` pixels.

    Sources are, from ``pyramid.first_step`` on, the last level of each step: what lies deeper
    at the same resolution sees more.

    Raises:
        UserError: The input is too small, or the recipe's words do not fit the arch.
    """
    _check(arch, backbone, pyramid)
    try:
        levels = list(_stages(arch, size, backbone, pyramid))
    except _TooSmall as error:
        larger = range(size + 1, LARGEST_SIZE + 1)
        least = next((n for n in larger if _fits(arch, n, backbone, pyramid)), None)
        raise UserError(
            f"--size {size} is too small for {arch.name}: {error} would find a map of one cell; "
            + (f"use {least} or more" if least else "no size is large enough for its strides")
        ) from None
    sources = _sources(levels, pyramid)
    for level in _extras(arch, size, backbone, pyramid, levels[-1]):
        if pyramid.sources and len(sources) >= pyramid.sources:
            break
        levels.append(level)
        sources = _sources(levels, pyramid)
    if not sources or len(sources) < (pyramid.sources or 1):
        maps = ", ".join(str(level.cells) for level in sources)
        raise UserError(
            f"--size {size} gives {arch.name} {len(sources)} maps to predict from ({maps}) with a "
            f"step of {pyramid.first_step} pixels or more, but {pyramid.sources or 1} are wanted: "
            "use a larger input, or lower pyramid.first_step or pyramid.sources"
        )
    levels = levels[: levels.index(sources[-1]) + 1]
    if pyramid.taps == "branch" and sources[-1].blocks:
        # Nothing reads the last sum of the whole net.
        unread = dataclasses.replace(sources[-1].blocks[-1], read=False)
        last = dataclasses.replace(sources[-1], blocks=(*sources[-1].blocks[:-1], unread))
        levels[-1] = sources[-1] = last
    return Body(tuple(levels), tuple(sources))


def _check(arch: Arch, backbone: Backbone, pyramid: Pyramid) -> None:
    if pyramid.taps not in TAPS:
        raise unknown("value of pyramid.taps", pyramid.taps, list(TAPS))
    if backbone.extras and backbone.extras not in EXTRAS:
        raise unknown("value of backbone.extras", backbone.extras, list(EXTRAS))
    if not backbone.width > 0:
        raise UserError(f"backbone.width is {backbone.width}, but must be above 0")
    _check_stem(arch, backbone)
    if arch.block == "plain" and backbone.strides is not None:
        raise UserError(f"backbone.strides: {arch.name} halves its maps by pooling")
    if arch.block == "plain" and backbone.extras == "residual":
        raise UserError(f"backbone.extras: {arch.name} has no residual blocks")
    if backbone.strides is not None and (
        len(backbone.strides) != len(arch.stages) or min(backbone.strides) < 1
    ):
        names = ", ".join(stage.name for stage in arch.stages)
        raise UserError(
            f"backbone.strides is {list(backbone.strides)}, but must be one stride of 1 or more "
            f"for each of {names}"
        )


def _check_stem(arch: Arch, backbone: Backbone) -> None:
    if arch.stem is None and backbone.stem.given:
        raise UserError(f"backbone.stem: {arch.name} has no stem to change")
    for key, value in backbone.stem.given.items():
        if key == "pool":
            good, wanted = value == 0 or value > 1, "0 (no pool) or 2 or more"
        elif key == "kernel":
            good, wanted = value % 2 == 1, "odd, so that padding keeps the map"
        else:
            good, wanted = value >= 1, "1 or more"
        if not good:
            raise UserError(f"backbone.stem.{key} is {value}, but must be {wanted}")


def _fits(arch: Arch, size: int, backbone: Backbone, pyramid: Pyramid) -> bool:
    try:
        return bool(list(_stages(arch, size, backbone, pyramid)))
    except _TooSmall:
        return False


def _sources(levels: Sequence[Level], pyramid: Pyramid) -> list[Level]:
    deepest = {level.step: level for level in levels if level.step >= pyramid.first_step}
    return list(deepest.values())[: pyramid.sources]


def _stages(arch: Arch, size: int, backbone: Backbone, pyramid: Pyramid) -> Iterator[Level]:
    """Lay out what the arch itself has, from the image on."""
    image = _Top(size, 1.0, 3)
    if arch.block == "plain":
        yield from _plain_stages(arch, image, backbone)
    else:
        yield from _residual_stages(arch, image, backbone, pyramid)


def _residual_stages(
    arch: Arch, top: _Top, backbone: Backbone, pyramid: Pyramid
) -> Iterator[Level]:
    assert arch.stem is not None
    names = NAMES[arch.family]
    stem = dataclasses.replace(arch.stem, **backbone.stem.given)
    top, level = _stem(stem, top, names, backbone.width)
    yield level
    pool = Pool("pool1", stem.pool, stride=2) if stem.pool else None
    strides = backbone.strides or tuple(stage.stride for stage in arch.stages)
    for stage, stride in zip(arch.stages, strides):
        if pool:
            top = top.after(Window(pool.kernel, pool.stride, 0), stage.name, pooled=True)
        window = Window(3, stride, 1)
        blocks = make_blocks(arch, stage, window, top.channels, backbone)
        top = top.after(window, stage.name)
        level = _residual_level(stage.name, pool, blocks, top.cells, top.step, pyramid.taps)
        yield level
        pool, top = None, dataclasses.replace(top, channels=level.channels)


def _stem(stem: Stem, top: _Top, names: Names, width: float) -> tuple[_Top, Level]:
    channels, convs = scaled(stem.channels, width), []
    for i in range(1, stem.number + 1):
        # The strides of the rest are 1 and, as the release does, not written.
        stride = stem.stride if i == 1 else None
        window = Window(stem.kernel, stride or 1, stem.kernel // 2)
        top = top.after(window, "the stem")
        name = names.stem(i, stem.number)
        convs.append(Conv(name, channels, stem.kernel, names.behind(name), window.pad, stride))
    level = _plain_level("stem", None, convs, top.cells, top.step)
    return dataclasses.replace(top, channels=channels), level


def _plain_stages(arch: Arch, top: _Top, backbone: Backbone) -> Iterator[Level]:
    """Lay VGG out: pooling between stages, and fc6 and fc7 as convolutions."""
    pool = None
    for stage in arch.stages:
        channels = scaled(stage.channels, backbone.width)
        if stage.stride > 1:
            pool = _vgg_pool(stage.number - 1, Window(2, 2, 0), backbone)
            top = top.after(Window(2, 2, 0), stage.name, pooled=True)
        # SSD dilates conv5 by 1, in so many words.
        dilation = 1 if stage is arch.stages[-1] else None
        convs = [
            Conv(name, channels, 3, vgg_behind(name), pad=1, dilation=dilation)
            for name in (f"{stage.name}_{i + 1}" for i in range(stage.blocks))
        ]
        yield _plain_level(stage.name, pool, convs, top.cells, top.step)
    channels = scaled(arch.fc, backbone.width)
    # Dilated, conv5's map is kept, and fc6 sees twice as far for it.
    window, dilation = (Window(3, 1, 1), 6) if backbone.dilated else (Window(2, 2, 0), 3)
    pool = _vgg_pool(arch.stages[-1].number, window, backbone)
    top = top.after(window, "fc6", pooled=True)
    fc6 = Conv("fc6", channels, 3, vgg_behind("fc6"), pad=dilation, dilation=dilation)
    fc7 = Conv("fc7", channels, 1, vgg_behind("fc7"))
    yield _plain_level("fc", pool, [fc6, fc7], top.cells, top.step)


def _vgg_pool(number: int, window: Window, backbone: Backbone) -> Pool:
    behind = suffixed(f"pool{number}") if backbone.bn_after_pool else None
    return Pool(f"pool{number}", window.kernel, window.stride, window.pad or None, behind)


def _extras(
    arch: Arch, size: int, backbone: Backbone, pyramid: Pyramid, below: Level
) -> Iterator[Level]:
    """Go on from ``below`` to one cell: ``meant`` is the map by the rule, ``cells`` the built."""
    meant, cells = below.cells, below.cells
    step, channels = below.step, below.channels
    residual = (backbone.extras or arch.extras) == "residual"
    plain = itertools.chain(PLAIN_EXTRAS, itertools.repeat(PLAIN_EXTRAS[-1]))
    for number in itertools.count(arch.stages[-1].number + 1):
        if meant == 1:
            return
        name = f"conv{number}"
        window = shrink(meant, pyramid.halve_even)
        meant = window.over(meant)
        step = step_after(window, step, meant, size)
        if name in pyramid.unshrunk:
            window = KEEP
        elif pyramid.padded and not window.pad and HALVE.over(cells) == window.over(cells):
            window = HALVE
        cells = window.over(cells)
        if residual and window.kernel == 3:
            stage = Stage(name, 1, RESIDUAL_EXTRA)
            blocks = make_blocks(arch, stage, window, channels, backbone, stated=True)
            level = _residual_level(name, None, blocks, cells, step, pyramid.taps)
        else:
            widths = (RESIDUAL_EXTRA, RESIDUAL_EXTRA) if residual else next(plain)
            reduced, expanded = (scaled(c, backbone.width) for c in widths)
            convs = [
                new_conv(f"{name}_1", reduced, kernel=3 if residual else 1),
                new_conv(f"{name}_2", expanded, window.kernel, window.stride, window.pad),
            ]
            level = _plain_level(name, None, convs, cells, step)
        yield level
        channels = level.channels


def _plain_level(
    name: str, pool: Pool | None, convs: Sequence[Conv], cells: int, step: float
) -> Level:
    last = convs[-1]
    return Level(name, pool, tuple(convs), (), cells, step, last.channels, last.name, last.name)


def _residual_level(
    name: str, pool: Pool | None, blocks: tuple[Block, ...], cells: int, step: float, taps: str
) -> Level:
    last = blocks[-1]
    channels = last.convs[-1].channels
    if taps == "branch":
        source = tap = last.convs[-1].name
    else:
        tap = last.activated
        source = tap if last.preactivation else last.behind.relu
    return Level(name, pool, (), blocks, cells, step, channels, source, tap)
