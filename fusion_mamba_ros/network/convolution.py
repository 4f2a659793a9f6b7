# SPDX-License-Identifier: Apache-2.0
"""The convolutional blocks of YOLOv5 and YOLOv8."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval


class NormalisedConv(nn.Module):
    """Convolution without bias, then batch normalisation; subclasses add the activation.

    Every backbone, neck and head that is built from this class supports `fold_norm`.
    """

    conv: nn.Conv2d
    norm: nn.Module

    def __init__(self, conv: nn.Conv2d, *, momentum: float):
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(conv.out_channels, eps=1e-3, momentum=momentum)

    def fold_norm(self) -> None:
        """Fold the batch normalisation into the convolution in place; the layer then works for evaluation only."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class Conv(NormalisedConv):
    """Convolution without bias, batch normalisation and SiLU; the default padding keeps H and W at stride 1."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, padding: int | None = None
    ):
        padding = kernel // 2 if padding is None else padding
        super().__init__(nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=False), momentum=0.03)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out_channels, H / stride, W / stride)."""
        return functional.silu(self.norm(self.conv(x)), inplace=True)


class Bottleneck(nn.Module):
    """Two convolutions with an optional shortcut around them; the number of channels does not change."""

    def __init__(self, channels: int, first_kernel: int, shortcut: bool):
        super().__init__()
        self.conv1 = Conv(channels, channels, first_kernel)
        self.conv2 = Conv(channels, channels, 3)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same shape."""
        out: Tensor = self.conv2(self.conv1(x))
        return x + out if self.shortcut else out


class C2f(nn.Module):
    """YOLOv8's stage: half of the channels pass through a chain of bottlenecks.

    A 1x1 convolution joins both halves and the output of every bottleneck.
    """

    def __init__(self, in_channels: int, out_channels: int, depth: int, shortcut: bool):
        super().__init__()
        hidden = out_channels // 2
        self.conv1 = Conv(in_channels, 2 * hidden)
        self.conv2 = Conv((2 + depth) * hidden, out_channels)
        self.bottlenecks = nn.ModuleList(Bottleneck(hidden, 3, shortcut) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out_channels, H, W)."""
        kept = list(self.conv1(x).chunk(2, dim=1))
        for bottleneck in self.bottlenecks:
            kept.append(bottleneck(kept[-1]))
        out: Tensor = self.conv2(torch.cat(kept, dim=1))
        return out


class C3(nn.Module):
    """YOLOv5's stage: a chain of bottlenecks and a parallel 1x1 convolution, joined by another 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, depth: int, shortcut: bool):
        super().__init__()
        hidden = out_channels // 2
        self.conv1 = Conv(in_channels, hidden)
        self.conv2 = Conv(in_channels, hidden)
        self.conv3 = Conv(2 * hidden, out_channels)
        self.bottlenecks = nn.Sequential(*(Bottleneck(hidden, 1, shortcut) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out_channels, H, W)."""
        out: Tensor = self.conv3(torch.cat((self.bottlenecks(self.conv1(x)), self.conv2(x)), dim=1))
        return out


class SpatialPyramidPooling(nn.Module):
    """SPPF: three consecutive 5x5 max-poolings, which cover windows of 5, 9 and 13 pixels."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        hidden = in_channels // 2
        self.conv1 = Conv(in_channels, hidden)
        self.conv2 = Conv(4 * hidden, out_channels)
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out_channels, H, W)."""
        pooled = [self.conv1(x)]
        for _ in range(3):
            pooled.append(self.pool(pooled[-1]))
        out: Tensor = self.conv2(torch.cat(pooled, dim=1))
        return out
