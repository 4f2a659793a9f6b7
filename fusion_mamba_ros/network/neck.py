# SPDX-License-Identifier: Apache-2.0
"""The neck: a path aggregation network between the fused levels and the head."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fusion_mamba_ros.network.config import ModelConfig
from fusion_mamba_ros.network.convolution import Conv


class PathAggregation(nn.Module):
    """PAN: a top-down path from coarse to fine, then a bottom-up path from fine to coarse.

    Both paths use the stage class that the backbone names, without shortcuts. Layout `yolov8` concatenates the levels
    unchanged. Layout `yolov5` reduces the channels of a coarser level by a 1x1 convolution before upsampling; the
    bottom-up path uses the reduced level too.
    Shapes: three maps (B, C_i, H / s_i, W / s_i), s = 8, 16, 32, in and out; the channels of each level do not change.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        kind = config.backbone_kind
        stage, depth = kind.stage, kind.neck_depth(config.scale)
        c3, c4, c5 = config.level_channels
        self.narrow5: nn.Module = nn.Identity()
        self.narrow4: nn.Module = nn.Identity()
        lateral5, lateral4 = c5, c4
        if config.neck_layout == "yolov5":
            lateral5, lateral4 = c4, c3
            self.narrow5, self.narrow4 = Conv(c5, c4), Conv(c4, c3)
        self.top_down4 = stage(lateral5 + c4, c4, depth, False)
        self.top_down3 = stage(lateral4 + c3, c3, depth, False)
        self.reduce3 = Conv(c3, c3, 3, 2)
        self.bottom_up4 = stage(c3 + lateral4, c4, depth, False)
        self.reduce4 = Conv(c4, c4, 3, 2)
        self.bottom_up5 = stage(c4 + lateral5, c5, depth, False)

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Return the aggregated levels, finest first."""
        p3, p4, p5 = levels
        lateral5 = self.narrow5(p5)
        lateral4 = self.narrow4(self.top_down4(torch.cat((_double(lateral5), p4), dim=1)))
        out3 = self.top_down3(torch.cat((_double(lateral4), p3), dim=1))
        out4 = self.bottom_up4(torch.cat((self.reduce3(out3), lateral4), dim=1))
        out5 = self.bottom_up5(torch.cat((self.reduce4(out4), lateral5), dim=1))
        return [out3, out4, out5]


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")
