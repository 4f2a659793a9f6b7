# SPDX-License-Identifier: Apache-2.0
"""Fusion by a cross-modality fusion transformer (CFT)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from fusion_mamba_ros.network.fusion.add import AddFusion
from fusion_mamba_ros.network.fusion.attention_heads import split_heads
from fusion_mamba_ros.network.fusion.operator import FusionOperator
from fusion_mamba_ros.network.setting_checks import require_int

_START_STD = 0.02


class TransformerLayer(nn.Module):
    """Self-attention over all tokens, then a two-layer perceptron. Both have a LayerNorm before and a residual.

    Shapes: tokens (B, T, C) in and out.
    """

    def __init__(self, channels: int, heads: int, expansion: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, expansion * channels),
            nn.GELU(),
            nn.Linear(expansion * channels, channels),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the transformed tokens."""
        parts = self.query_key_value(self.norm(tokens)).chunk(3, dim=-1)
        query, key, value = (split_heads(part, self.heads) for part in parts)
        read = functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.out(read.transpose(1, 2).flatten(2))
        out: Tensor = tokens + self.perceptron(tokens)
        return out


class CftBlock(nn.Module):
    """CFT: self-attention over the pooled tokens of all streams, whose output is added to the streams.

    Each map is averaged to ``grid`` x ``grid`` cells. The cells of all streams form one sequence of M grid^2 tokens
    with a learned position embedding. After ``layers`` transformer layers, the tokens of a stream are upsampled
    (bilinear) to the size of its map and added to it. Shapes: M maps (B, C, H, W) in and out.
    The layers have no dropout: a run that resumes must not depend on random numbers inside the network.
    Source: arXiv 2111.00273, section 3.2.
    """

    def __init__(self, channels: int, modalities: int, layers: int, heads: int, grid: int, expansion: int = 4):
        super().__init__()
        self.grid = grid
        self.position = nn.Parameter(torch.zeros(1, modalities * grid * grid, channels))
        self.layers = nn.ModuleList(
            TransformerLayer(channels, heads_for(channels, heads), expansion) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(channels)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=_START_STD)
                nn.init.zeros_(module.bias)
        # The block starts close to the identity, as all operators here do, so that it hardly changes the features of a
        # trained backbone at first.
        nn.init.constant_(self.norm.weight, _START_STD)

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        """Return the enhanced maps, in the order of the streams."""
        cells = [functional.adaptive_avg_pool2d(x, self.grid).flatten(2).transpose(1, 2) for x in maps]
        tokens = torch.cat(cells, dim=1) + self.position
        for layer in self.layers:
            tokens = layer(tokens)
        enhanced = []
        for x, part in zip(maps, self.norm(tokens).chunk(len(maps), dim=1), strict=True):
            cell_map = part.transpose(1, 2).unflatten(-1, (self.grid, self.grid))
            enhanced.append(
                x + functional.interpolate(cell_map, size=x.shape[2:], mode="bilinear", align_corners=False)
            )
        return tuple(enhanced)


def heads_for(channels: int, most: int) -> int:
    """Return the largest number of heads up to ``most`` that divides ``channels``."""
    return next(heads for heads in range(min(most, channels), 0, -1) if channels % heads == 0)


@dataclass(frozen=True)
class Cft(FusionOperator):
    """Enhance each stream by a `CftBlock`, then add the streams. Source: arXiv 2111.00273."""

    layers: int = 8
    """Number of transformer layers at each level."""
    heads: int = 8
    """Largest number of attention heads. The block uses the largest number up to it that divides the channels."""
    grid: int = 8
    """Number of cells along each side of the grid to which a map is averaged."""

    def __post_init__(self) -> None:
        require_int("layers", self.layers, 1, 64)
        require_int("heads", self.heads, 1, 64)
        require_int("grid", self.grid, 1, 64)

    def build(self, channels: int, modalities: int, stride: int) -> AddFusion:
        """Return a module that applies the block and then adds the streams."""
        return AddFusion(CftBlock(channels, modalities, self.layers, self.heads, self.grid))
