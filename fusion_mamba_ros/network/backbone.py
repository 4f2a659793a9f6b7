# SPDX-License-Identifier: Apache-2.0
"""The backbone of one stream."""

from __future__ import annotations

from torch import Tensor, nn

from fusion_mamba_ros.network.config import ModelConfig
from fusion_mamba_ros.network.convolution import STAGES, Conv, SpatialPyramidPooling


class Backbone(nn.Module):
    """YOLOv8 (Conv-C2f-SPPF) or YOLOv5 (Conv-C3-SPPF) in three sections, which end at strides 8, 16 and 32.

    The sections are called one by one, so that what a fusion block returns at one level goes on to the next.
    Chained, their layers stand in the order of the published models.
    """

    def __init__(self, config: ModelConfig, in_channels: int):
        super().__init__()
        stage = STAGES[config.backbone]
        c1, c2, c3, c4, c5 = config.scale.channels
        d2, d3, d4, d5 = config.scale.depths
        stem = Conv(in_channels, c1, 6, 2, 2) if config.backbone == "yolov5" else Conv(in_channels, c1, 3, 2)
        self.sections = nn.ModuleList(
            (
                nn.Sequential(
                    stem, Conv(c1, c2, 3, 2), stage(c2, c2, d2, True), Conv(c2, c3, 3, 2), stage(c3, c3, d3, True)
                ),
                nn.Sequential(Conv(c3, c4, 3, 2), stage(c4, c4, d4, True)),
                nn.Sequential(Conv(c4, c5, 3, 2), stage(c5, c5, d5, True), SpatialPyramidPooling(c5, c5)),
            )
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the features at strides 8, 16 and 32 of a stream that is not fused."""
        features = []
        for section in self.sections:
            image = section(image)
            features.append(image)
        return features
