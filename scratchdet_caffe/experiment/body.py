"""A backbone at one size, layer by layer: what the templates are given to write."""

from __future__ import annotations

from dataclasses import dataclass

from scratchdet_caffe.experiment.names import Behind, suffixed


@dataclass(frozen=True)
class Conv:
    """A convolution and the names of what may follow it; None is written nowhere.

    Attributes:
        kernel, pad, stride, dilation: In cells; Caffe takes None for 0 (pad) or 1.
        behind: Names of the BatchNorm, Scale and ReLU behind it.
    """

    name: str
    channels: int
    kernel: int
    behind: Behind
    pad: int | None = None
    stride: int | None = None
    dilation: int | None = None


def new_conv(
    name: str, channels: int, kernel: int, stride: int = 1, pad: int | None = None
) -> Conv:
    """Make a convolution as SSD's ConvBNLayer does: the map keeps its side unless told else."""
    pad = kernel // 2 if pad is None else pad
    return Conv(name, channels, kernel, suffixed(name), pad, stride)


@dataclass(frozen=True)
class Pool:
    """A max-pooling; ``behind`` names the BatchNorm on it, None for none."""

    name: str
    kernel: int
    stride: int
    pad: int | None = None
    behind: Behind | None = None


@dataclass(frozen=True)
class Block:
    """A residual block: convolutions beside a shortcut, then their sum.

    Attributes:
        convs: The residual branch, in order.
        projection: Convolution on the shortcut; None for the identity.
        sum: Name of the sum.
        behind: Names of the layers that normalise and rectify the sum.
        preactivation: BatchNorm and ReLU before convolutions, as in ResNet-V2: the sum itself
            stays as it is, and what is normalised and rectified is a blob of its own. If not,
            BatchNorm is behind each convolution and the sum is rectified in place.
        read: Whether anything reads the sum; one that nothing reads is not rendered, and neither
            is its shortcut.
    """

    convs: tuple[Conv, ...]
    projection: Conv | None
    sum: str
    behind: Behind
    preactivation: bool
    read: bool = True

    @property
    def activated(self) -> str:
        """The blob that following layers read."""
        return f"{self.sum}_act" if self.preactivation else self.sum


@dataclass(frozen=True)
class Level:
    """The layers from one change of resolution to the next.

    Attributes:
        name: ``stem``, ``conv2``, ...; ``fc`` for VGG's fully connected layers.
        pool: What makes its map from the level below; None where a stride does.
        convs: Plain convolutions, each with its BatchNorm and ReLU; empty for residual blocks.
        blocks: Residual blocks; empty for plain convolutions.
        cells: Side of its map.
        step: Pixels between the centres of its priors.
        channels: Of its last blob.
        source: How the layers of a head on it begin, if it is predicted from.
        tap: The blob that the head reads then.
    """

    name: str
    pool: Pool | None
    convs: tuple[Conv, ...]
    blocks: tuple[Block, ...]
    cells: int
    step: float
    channels: int
    source: str
    tap: str


@dataclass(frozen=True)
class Body:
    """A backbone: its levels, and those of them that are predicted from, finest first."""

    levels: tuple[Level, ...]
    sources: tuple[Level, ...]
