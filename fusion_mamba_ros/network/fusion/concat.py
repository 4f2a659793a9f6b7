# SPDX-License-Identifier: Apache-2.0
"""Fusion by concatenation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusion_mamba_ros.network.convolution import Conv
from fusion_mamba_ros.network.fusion.operator import FusionOperator


class ConcatFusion(nn.Module):
    """Concatenation of the streams, brought back to C channels by a 1x1 convolution; the streams go on as they are."""

    def __init__(self, channels: int, modalities: int):
        super().__init__()
        self.mix = Conv(modalities * channels, channels)

    def forward(self, *maps: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return the maps and the mixed map."""
        return maps, self.mix(torch.cat(maps, dim=1))


@dataclass(frozen=True)
class Concat(FusionOperator):
    """Concatenate the streams; nothing to set."""

    def build(self, channels: int, modalities: int, stride: int) -> ConcatFusion:
        """Return the concatenation with its 1x1 convolution."""
        return ConcatFusion(channels, modalities)
