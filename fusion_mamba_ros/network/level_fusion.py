# SPDX-License-Identifier: Apache-2.0
"""How the streams meet at one level of the pyramid: the Fusion-Mamba block and the baselines it is measured against."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fusion_mamba_ros.network.config import LEVELS, ModelConfig
from fusion_mamba_ros.network.convolution import Conv
from fusion_mamba_ros.network.fusion_mamba_block import FusionMambaBlock


class AddFusion(nn.Module):
    """Sum of the streams for the neck; an optional block enhances the streams before, otherwise they go on as they are.

    Shapes: M maps (B, C, H, W) in; as many enhanced maps and the fused map (B, C, H, W) out.
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


class ConcatFusion(nn.Module):
    """Concatenation of the streams, brought back to C channels by a 1x1 convolution; the streams go on as they are."""

    def __init__(self, channels: int, modalities: int):
        super().__init__()
        self.mix = Conv(modalities * channels, channels)

    def forward(self, *maps: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return the maps and the mixed map."""
        return maps, self.mix(torch.cat(maps, dim=1))


class CrossAttention(nn.Module):
    """Each stream's pixels attend to the other streams' regions; what they read is added to the stream.

    Shapes: M maps (B, C, H, W) in and out. Keys and values are averaged over ``region`` x ``region`` pixels, which
    keeps the attention matrix at a fine level as narrow as at stride 32.
    """

    def __init__(self, channels: int, modalities: int, region: int):
        super().__init__()
        self.heads, self.region = max(channels // 32, 1), region
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
            query, key, value = (self._split_heads(t) for t in (self.queries[m](tokens[m]), key, value))
            read = functional.scaled_dot_product_attention(query, key, value)
            out = self.outs[m](read.transpose(1, 2).flatten(2))
            enhanced.append(x + out.transpose(1, 2).unflatten(-1, size))
        return tuple(enhanced)

    def _regions(self, tokens: Tensor, height: int, width: int) -> Tensor:
        grid = tokens.transpose(1, 2).unflatten(-1, (height, width))
        return functional.avg_pool2d(grid, self.region).flatten(2).transpose(1, 2)

    def _split_heads(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def level_fusion(config: ModelConfig, level: int) -> nn.Module:
    """Return the module for level P``level``: maps of all streams in; (enhanced maps, fused map) out."""
    channels, count = config.scale.channels[level - 1], len(config.modalities)
    if count == 1 or level not in config.levels or config.fusion == "add":
        return AddFusion()
    if config.fusion == "concat":
        return ConcatFusion(channels, count)
    if config.fusion == "cross_attention":
        return AddFusion(CrossAttention(channels, count, region=2 ** (LEVELS[-1] - level)))
    return AddFusion(
        FusionMambaBlock(
            channels,
            config.dssf_count,
            modalities=count,
            state_size=config.state_size,
            sscs=config.sscs,
            gate=config.gate,
            dual_attention=config.dual_attention,
            share_ssm=config.share_ssm,
            bottleneck=config.fusion_channels,
        )
    )
