"""The detectors of the benchmark as anyone would write them by hand in PyTorch.

They declare their parameters in the order of the Caffe net, so that its weights can be copied in;
the loss and the priors come from ``engine.detection``, as the twin is about everything else.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.detection.groundtruth import ground_truth
from scratchdet_caffe.engine.detection.multibox import Predictions, assign, multibox_loss

CLASSES = 21


def conv_norm_relu(
    below: int, channels: int, kernel: int = 3, stride: int = 1, pad: int = 1
) -> nn.Sequential:
    """A convolution without bias, BatchNorm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(below, channels, kernel, stride, pad, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


class Block(nn.Module):
    """A basic block: two convolutions beside a shortcut; the sum is normalised for the next."""

    def __init__(self, below: int, channels: int, stride: int, last: bool = False) -> None:
        super().__init__()
        self.conv1 = conv_norm_relu(below, channels, stride=stride)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        same = stride == 1 and below == channels
        self.projection = None if same else nn.Conv2d(below, channels, 1, stride, bias=False)
        self.norm = None if last else nn.BatchNorm2d(channels)

    def forward(self, total: Tensor, active: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map a sum and its activation (N, C, H, W) to (branch, sum, activation)."""
        branch = self.conv2(self.conv1(active))
        if self.norm is None:
            return branch, branch, branch
        total = branch + (total if self.projection is None else self.projection(active))
        return branch, total, F.relu(self.norm(total), inplace=True)


class RootResNet(nn.Module):
    """Root-ResNet with its extra levels; returns the maps that are predicted from."""

    def __init__(
        self,
        stem: int,
        stages: Sequence[tuple[int, int, int]],
        first: int,
        branch: bool,
        extras: Sequence[Sequence[tuple[int, int, int, int]]] = (),
    ) -> None:
        """Lay it out.

        Args:
            stem: Channels of the three convolutions at full resolution.
            stages: (channels, blocks, stride) of each residual stage.
            first: The first stage that is predicted from.
            branch: Predict from the last branch of a stage, not from its activation.
            extras: Plain levels: (channels, kernel, stride, pad) of each convolution.
        """
        super().__init__()
        self.first, self.branch = first, branch
        self.stem = nn.Sequential(*(conv_norm_relu(3 if i == 0 else stem, stem) for i in range(3)))
        self.stages, below = nn.ModuleList(), stem
        for channels, blocks, stride in stages:
            stage = nn.ModuleList()
            for i in range(blocks):
                unread = branch and len(self.stages) == len(stages) - 1 and i == blocks - 1
                stage.append(Block(below, channels, stride if i == 0 else 1, last=unread))
                below = channels
            self.stages.append(stage)
        self.extras = nn.ModuleList()
        for convs in extras:
            level = nn.Sequential()
            for channels, kernel, stride, pad in convs:
                level.append(conv_norm_relu(below, channels, kernel, stride, pad))
                below = channels
            self.extras.append(level)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map images (N, 3, H, W) to the source maps."""
        total = active = F.max_pool2d(self.stem(x), 2)
        branch, maps = active, []
        for i, stage in enumerate(self.stages):
            for block in stage:
                branch, total, active = block(total, active)
            if i >= self.first:
                maps.append(branch if self.branch else active)
        for level in self.extras:
            active = level(active)
            maps.append(active)
        return maps


class Vgg16(nn.Module):
    """SSD300's VGG16: dilated fc6, normalised conv4_3, four extra levels."""

    def __init__(self) -> None:
        super().__init__()

        def convs(below: int, *channels: int) -> list[nn.Module]:
            layers: list[nn.Module] = []
            for count in channels:
                layers += [nn.Conv2d(below, count, 3, padding=1), nn.ReLU(inplace=True)]
                below = count
            return layers

        def pool() -> nn.Module:
            return nn.MaxPool2d(2, ceil_mode=True)

        def extra(below: int, narrow: int, channels: int, stride: int, pad: int) -> nn.Module:
            return nn.Sequential(
                nn.Conv2d(below, narrow, 1),
                nn.ReLU(inplace=True),
                nn.Conv2d(narrow, channels, 3, stride, pad),
                nn.ReLU(inplace=True),
            )

        self.to_conv4 = nn.Sequential(
            *convs(3, 64, 64), pool(), *convs(64, 128, 128), pool(),
            *convs(128, 256, 256, 256), pool(), *convs(256, 512, 512, 512),
        )  # fmt: skip
        self.to_fc7 = nn.Sequential(
            pool(), *convs(512, 512, 512, 512), nn.MaxPool2d(3, 1, 1),
            nn.Conv2d(512, 1024, 3, padding=6, dilation=6), nn.ReLU(inplace=True),
            nn.Conv2d(1024, 1024, 1), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.extras = nn.ModuleList(
            [
                extra(1024, 256, 512, 2, 1),
                extra(512, 128, 256, 2, 1),
                extra(256, 128, 256, 1, 0),
                extra(256, 128, 256, 1, 0),
            ]
        )
        self.scale = nn.Parameter(torch.full((512,), 20.0))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map images (N, 3, 300, 300) to the source maps."""
        x = self.to_conv4(x)
        maps = [F.normalize(x, dim=1, eps=1e-5) * self.scale[:, None, None]]
        x = self.to_fc7(x)
        maps.append(x)
        for level in self.extras:
            x = level(x)
            maps.append(x)
        return maps


class Detector(nn.Module):
    """A trunk, SSD's heads on its maps, and the MultiBox loss.

    Args:
        trunk: Returns the maps.
        channels: Channels of each map.
        boxes: Priors per cell of each map.
        priors: (2, P, 4), boxes and variances.
        rules: The loss's parameters.
    """

    priors: Tensor

    def __init__(
        self,
        trunk: nn.Module,
        channels: Sequence[int],
        boxes: Sequence[int],
        priors: Tensor,
        rules: pb.MultiBoxLossParameter,
    ) -> None:
        super().__init__()
        self.trunk, self.rules = trunk, rules
        self.heads = nn.ModuleList(
            nn.ModuleList(
                [nn.Conv2d(c, k * 4, 3, padding=1), nn.Conv2d(c, k * CLASSES, 3, padding=1)]
            )
            for c, k in zip(channels, boxes)
        )
        self.register_buffer("priors", priors)

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (N, 3, H, W) to offsets (N, P * 4) and scores (N, P * C)."""
        maps = self.trunk(images)
        loc, conf = (
            torch.cat([heads[i](x).permute(0, 2, 3, 1).flatten(1) for heads, x in pairs], 1)
            for i, pairs in enumerate([list(zip(self.heads, maps))] * 2)
        )
        return loc, conf

    def loss(self, loc: Tensor, conf: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of what `predict` said, given label rows (1, 1, M, 8)."""
        n, (boxes, variances) = len(loc), self.priors
        boxes = boxes.expand(n, *boxes.shape)
        predictions = Predictions(
            loc.reshape(n, -1, 1, 4), conf.reshape(n, -1, CLASSES), boxes, variances, boxes
        )
        truth = ground_truth(labels, n, CLASSES, 0, True)
        assignment = assign(predictions, truth, self.rules)
        location, confidence = multibox_loss(predictions, truth, assignment, self.rules)
        return (location + confidence) / assignment.matches.clamp(min=1)


def root_resnet18_mini(priors: Tensor, rules: pb.MultiBoxLossParameter) -> Detector:
    """root_resnet18 of the mini recipe at 64 pixels."""
    trunk = RootResNet(
        16,
        [(16, 2, 1), (32, 2, 2), (64, 2, 2), (128, 2, 2)],
        first=1,
        branch=False,
        extras=[[(64, 1, 1, 0), (128, 3, 1, 0)], [(32, 1, 1, 0), (64, 3, 2, 1)]],
    )
    return Detector(trunk, [32, 64, 128, 128, 64], [4, 6, 6, 4, 4], priors, rules)


def root_resnet34_300(priors: Tensor, rules: pb.MultiBoxLossParameter) -> Detector:
    """root_resnet34 of the release-caffe recipe at 300 pixels."""
    stages = [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]
    stages += [(128, 1, 2), (128, 1, 2), (128, 1, 1), (128, 1, 1)]
    trunk = RootResNet(64, stages, first=2, branch=True)
    return Detector(trunk, [256, 512, 128, 128, 128, 128], [4, 6, 6, 6, 4, 4], priors, rules)


def ssd300_vgg16(priors: Tensor, rules: pb.MultiBoxLossParameter) -> Detector:
    """SSD300 on VGG16."""
    return Detector(Vgg16(), [512, 1024, 512, 256, 256, 256], [4, 6, 6, 6, 4, 4], priors, rules)
