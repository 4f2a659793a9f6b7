# SPDX-License-Identifier: Apache-2.0
"""State space channel swapping: the shallow fusion."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusion_mamba_ros.network.state_space import DIRECTIONS, VisualStateSpaceBlock

PARTS = 4


def swap_channels(maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return M maps in which quarter j of the channels of map m comes from map (m + j) mod M.

    Two maps exchange their second and fourth quarters.
    Raises ``ValueError`` if the shapes differ or C is not divisible by 4.
    """
    if any(x.shape != maps[0].shape for x in maps):
        raise ValueError(f"streams differ in shape, {[tuple(x.shape) for x in maps]}: give maps of one shape")
    if maps[0].shape[1] % PARTS:
        raise ValueError(f"a map of {maps[0].shape[1]} channels cannot be split in {PARTS}: use a multiple of {PARTS}")
    quarters = [x.chunk(PARTS, dim=1) for x in maps]
    count = len(maps)
    return tuple(torch.cat([quarters[(m + j) % count][j] for j in range(PARTS)], dim=1) for m in range(count))


class StateSpaceChannelSwapping(nn.Module):
    """SSCS: exchange channels between the streams, then mix the channels of each stream with its own VSS block.

    Shapes: M maps (B, C, H, W) in and out; C divisible by 4.
    Raises ``ValueError`` if the maps differ in shape. Source: arXiv 2404.09146, section 3.2.
    """

    def __init__(
        self,
        channels: int,
        modalities: int = 2,
        state_size: int = 16,
        depth: int = 1,
        directions: int = DIRECTIONS,
        decay: str = "free",
    ):
        super().__init__()
        self.blocks = nn.ModuleList(
            VisualStateSpaceBlock(channels, state_size, depth, directions, decay) for _ in range(modalities)
        )

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        """Return the shallowly fused maps, in the order of the streams."""
        return tuple(block(x) for block, x in zip(self.blocks, swap_channels(maps), strict=True))
