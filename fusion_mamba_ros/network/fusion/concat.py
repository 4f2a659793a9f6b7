# SPDX-License-Identifier: Apache-2.0
"""Fusion by concatenation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusion_mamba_ros.network.convolution import Conv
from fusion_mamba_ros.network.fusion.operator import FusionOperator


class ConcatFusion(nn.Module):
    """Concatenate the streams and reduce them to C channels by a 1x1 convolution.

    The streams themselves continue unchanged.
    """

    def __init__(self, channels: int, modalities: int):
        super().__init__()
        self.mix = Conv(modalities * channels, channels)

    def forward(self, *maps: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return the unchanged maps and the fused map."""
        return maps, self.mix(torch.cat(maps, dim=1))


@dataclass(frozen=True)
class Concat(FusionOperator):
    """Concatenate the streams; this operator has no settings."""

    def build(self, channels: int, modalities: int, stride: int) -> ConcatFusion:
        """Return a module that concatenates the streams and applies a 1x1 convolution."""
        return ConcatFusion(channels, modalities)
