# SPDX-License-Identifier: Apache-2.0
"""The decoupled detection head, which predicts a distribution for each box edge and a logit for each class."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fusion_mamba_ros.network.config import STRIDES, ModelConfig
from fusion_mamba_ros.network.convolution import Conv


class DetectionHead(nn.Module):
    """YOLOv8's head: two branches at each level, and the fixed projection of the box distributions.

    Input: three maps with the channels of the configured levels. Output: three maps
    (B, 4 * reg_max + classes, H, W). The box distribution logits come first (left, top, right, bottom; reg_max bins
    each, in units of the stride), then the class logits.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.reg_max, self.classes = config.reg_max, config.classes
        levels = config.level_channels
        box_channels = max(16, levels[0] // 4, 4 * config.reg_max)
        class_channels = max(levels[0], min(config.classes, 100))
        self.box_branches = nn.ModuleList(_branch(c, box_channels, 4 * config.reg_max) for c in levels)
        self.class_branches = nn.ModuleList(_branch(c, class_channels, config.classes) for c in levels)
        # The projection is a parameter, not a buffer, because YOLOv8 counts it among its parameters.
        self.projection = nn.Parameter(torch.arange(config.reg_max, dtype=torch.float32), requires_grad=False)
        self._reset_biases()

    def _reset_biases(self) -> None:
        # As in YOLO, the initial class scores expect about five objects in an image of 640 x 640.
        for stride, boxes, classes in zip(STRIDES, self.box_branches, self.class_branches, strict=True):
            nn.init.constant_(boxes.get_parameter("2.bias"), 1.0)
            nn.init.constant_(classes.get_parameter("2.bias"), math.log(5 / self.classes / (640 / stride) ** 2))

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Return the raw maps, finest level first."""
        branches = zip(levels, self.box_branches, self.class_branches, strict=True)
        return [torch.cat((boxes(x), classes(x)), dim=1) for x, boxes, classes in branches]

    def decode(self, levels: list[Tensor]) -> Tensor:
        """Return (B, anchors, 4 + classes) in float32: x1 y1 x2 y2 in input pixels, then class probabilities."""
        distributions, logits, centres, strides = self.flatten(levels)
        return torch.cat((self.boxes(distributions, centres, strides), logits.sigmoid()), dim=-1)

    def boxes(self, distributions: Tensor, centres: Tensor, strides: Tensor) -> Tensor:
        """Return boxes (B, anchors, 4) as x1 y1 x2 y2 in input pixels, from the mean of each edge."""
        distances = distributions.softmax(dim=-1) @ self.projection.float() * strides
        return torch.cat((centres - distances[..., :2], centres + distances[..., 2:]), dim=-1)

    def flatten(self, levels: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the raw maps of all levels in one sequence of anchors, as input of decoding and of the loss.

        The result is, in float32: box distribution logits (B, anchors, 4, reg_max), class logits (B, anchors, classes),
        anchor centres (anchors, 2) as x y in input pixels, and strides (anchors, 1).
        """
        rows, centres, strides = [], [], []
        for stride, level in zip(STRIDES, levels, strict=True):
            height, width = level.shape[2:]
            rows.append(level.float().flatten(2).transpose(1, 2))
            y = torch.arange(height, device=level.device, dtype=torch.float32) + 0.5
            x = torch.arange(width, device=level.device, dtype=torch.float32) + 0.5
            grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
            centres.append(torch.stack((grid_x, grid_y), dim=-1).reshape(-1, 2) * stride)
            strides.append(torch.full((height * width, 1), float(stride), device=level.device))
        boxes, logits = torch.cat(rows, dim=1).split((4 * self.reg_max, self.classes), dim=-1)
        return boxes.unflatten(-1, (4, self.reg_max)), logits, torch.cat(centres), torch.cat(strides)


def _branch(in_channels: int, hidden: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(Conv(in_channels, hidden, 3), Conv(hidden, hidden, 3), nn.Conv2d(hidden, out_channels, 1))
