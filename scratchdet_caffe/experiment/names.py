"""What layers are called: upstream's names, so that published weights find their layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from scratchdet_caffe.experiment.archs import Stage


@dataclass(frozen=True)
class Behind:
    """The layers that normalise and rectify a blob: BatchNorm, Scale, ReLU."""

    bn: str
    scale: str
    relu: str


def suffixed(name: str) -> Behind:
    """Name the layers behind ``name`` as SSD's ConvBNLayer does: ``conv6_1_bn``, ..."""
    return Behind(f"{name}_bn", f"{name}_scale", f"{name}_relu")


def vgg_behind(name: str) -> Behind:
    """VGG's ReLUs have the number alone: ``relu1_1`` behind ``conv1_1``, ``relu6`` behind fc6."""
    number = name.removeprefix("conv").removeprefix("fc")
    return Behind(f"{name}_bn", f"{name}_scale", f"relu{number}")


class Names(Protocol):
    """The names of a residual net; blocks count from 0, convolutions of the stem from 1."""

    states_strides: bool
    """Whether upstream writes a stride of 1, too."""

    def stem(self, index: int, number: int) -> str:
        """Name convolution ``index`` of ``number`` in the stem."""

    def convs(self, stage: Stage, block: int, number: int) -> list[str]:
        """Name the ``number`` convolutions of a block."""

    def projection(self, stage: Stage, block: int) -> str:
        """Name the convolution on a block's shortcut."""

    def sum(self, stage: Stage, block: int) -> str:
        """Name a block's sum."""

    def behind(self, name: str) -> Behind:
        """Name the layers behind the convolution or the sum ``name``."""


class RootNames:
    """The release's: ``stem_1``, ``conv3_1``; the rest (it has automatic names there) is ours."""

    states_strides = False

    def stem(self, index: int, number: int) -> str:
        return f"stem_{index}"

    def convs(self, stage: Stage, block: int, number: int) -> list[str]:
        return [f"{stage.name}_{number * block + i + 1}" for i in range(number)]

    def projection(self, stage: Stage, block: int) -> str:
        return f"{stage.name}_{block + 1}_proj"

    def sum(self, stage: Stage, block: int) -> str:
        return f"res{stage.number}_{block + 1}"

    def behind(self, name: str) -> Behind:
        return suffixed(name)


class ResNetNames:
    """ResNet's: ``conv1``, ``res2a_branch2a``, ``bn2a_branch2a``, ``scale2a_branch2a``."""

    states_strides = True

    def stem(self, index: int, number: int) -> str:
        return "conv1" if number == 1 else f"conv1_{index}"

    def _block(self, stage: Stage, block: int) -> str:
        if stage.blocks == 1:
            return f"res{stage.number}"
        later = f"b{block}" if stage.numbered else chr(ord("a") + block)
        return f"res{stage.number}{later if block else 'a'}"

    def convs(self, stage: Stage, block: int, number: int) -> list[str]:
        return branch_names(self._block(stage, block), number)

    def projection(self, stage: Stage, block: int) -> str:
        return f"{self._block(stage, block)}_branch1"

    def sum(self, stage: Stage, block: int) -> str:
        return self._block(stage, block)

    def behind(self, name: str) -> Behind:
        if name.startswith("res"):
            rest = name.removeprefix("res")
            return Behind(f"bn{rest}", f"scale{rest}", f"{name}_relu")
        return Behind(f"bn_{name}", f"scale_{name}", f"{name}_relu")


def branch_names(block: str, number: int) -> list[str]:
    """Name the convolutions of the ResNet block ``block``: ``res2a_branch2a``, ``..2b``, ..."""
    return [f"{block}_branch2{letter}" for letter in "abc"[:number]]


NAMES: dict[str, Names] = {"root_resnet": RootNames(), "resnet": ResNetNames()}
"""Family of archs -> names."""
