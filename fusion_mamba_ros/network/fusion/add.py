# SPDX-License-Identifier: Apache-2.0
"""Fusion by addition."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from fusion_mamba_ros.network.fusion.operator import FusionOperator


class AddFusion(nn.Module):
    """Add the streams for the neck, after an optional block that enhances each stream.

    Without the block, the streams continue unchanged.
    Shapes: M maps (B, C, H, W) in; M enhanced maps (B, C, H, W) and the fused map (B, C, H, W) out.
    """

    def __init__(self, enhance: nn.Module | None = None):
        super().__init__()
        self.enhance = enhance

    def forward(self, *maps: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return the enhanced maps and their sum."""
        if self.enhance is not None:
            maps = self.enhance(*maps)
        fused = maps[0]
        for x in maps[1:]:
            fused = fused + x
        return maps, fused


@dataclass(frozen=True)
class Add(FusionOperator):
    """Add the streams; this operator has no settings."""

    def build(self, channels: int, modalities: int, stride: int) -> AddFusion:
        """Return a module that adds the streams."""
        return AddFusion()
