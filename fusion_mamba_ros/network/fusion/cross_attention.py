# SPDX-License-Identifier: Apache-2.0
"""Fusion by cross-attention."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from fusion_mamba_ros.network.fusion.add import AddFusion
from fusion_mamba_ros.network.fusion.attention_heads import split_heads
from fusion_mamba_ros.network.fusion.operator import FusionOperator

_COARSEST_STRIDE = 32


class CrossAttentionBlock(nn.Module):
    """Cross-attention: the pixels of each stream attend to regions of the other streams.

    The result of the attention is added to the stream. Shapes: M maps (B, C, H, W) in and out.
    Keys and values are computed from averages over ``region`` x ``region`` pixels. `CrossAttention` sets ``region`` to
    32 / stride, so that every level has as many keys and values as the level at stride 32.
    """

    def __init__(self, channels: int, modalities: int, region: int):
        super().__init__()
        self.heads, self.region = _heads(channels), region
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(modalities))
        self.queries = nn.ModuleList(nn.Linear(channels, channels) for _ in range(modalities))
        self.keys_values = nn.ModuleList(nn.Linear(channels, 2 * channels) for _ in range(modalities))
        self.outs = nn.ModuleList(nn.Linear(channels, channels) for _ in range(modalities))
        for out in self.outs:
            nn.init.trunc_normal_(out.get_parameter("weight"), std=0.02)
            nn.init.zeros_(out.get_parameter("bias"))

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        """Return the enhanced maps, in the order of the streams."""
        tokens = [norm(x.flatten(2).transpose(1, 2)) for norm, x in zip(self.norms, maps, strict=True)]
        size = maps[0].shape[2:]
        regions = [self._regions(token, size[0], size[1]) for token in tokens]
        keys_values = [project(region) for project, region in zip(self.keys_values, regions, strict=True)]
        enhanced = []
        for m, x in enumerate(maps):
            others = torch.cat([kv for o, kv in enumerate(keys_values) if o != m], dim=1)
            key, value = others.chunk(2, dim=-1)
            query, key, value = (split_heads(t, self.heads) for t in (self.queries[m](tokens[m]), key, value))
            read = functional.scaled_dot_product_attention(query, key, value)
            out = self.outs[m](read.transpose(1, 2).flatten(2))
            enhanced.append(x + out.transpose(1, 2).unflatten(-1, size))
        return tuple(enhanced)

    def _regions(self, tokens: Tensor, height: int, width: int) -> Tensor:
        grid = tokens.transpose(1, 2).unflatten(-1, (height, width))
        return functional.avg_pool2d(grid, self.region).flatten(2).transpose(1, 2)


def _heads(channels: int) -> int:
    """Return the largest divisor of ``channels`` that gives each head at least 32 channels, or 1 if there is none."""
    return next(heads for heads in range(max(channels // 32, 1), 0, -1) if channels % heads == 0)


@dataclass(frozen=True)
class CrossAttention(FusionOperator):
    """Enhance each stream by a `CrossAttentionBlock`, then add the streams; this operator has no settings."""

    def build(self, channels: int, modalities: int, stride: int) -> AddFusion:
        """Return a module that applies the block, with keys and values at stride 32, and then adds the streams."""
        return AddFusion(CrossAttentionBlock(channels, modalities, region=_COARSEST_STRIDE // stride))
