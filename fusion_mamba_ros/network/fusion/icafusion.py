# SPDX-License-Identifier: Apache-2.0
"""Fusion by iterative cross-attention (ICAFusion)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from fusion_mamba_ros.network.convolution import Conv
from fusion_mamba_ros.network.fusion.attention_heads import split_heads
from fusion_mamba_ros.network.fusion.cft import heads_for
from fusion_mamba_ros.network.fusion.operator import FusionOperator
from fusion_mamba_ros.network.setting_checks import require_int

_EXPANSION = 4


class EnhancedStream(nn.Module):
    """The layers of one stream: pooling to tokens, its part of the cross-attention, and the perceptron.

    `enhance` computes t' = a t + b W_o read and returns c t' + d MLP(LN(t')), with learned scalars a, b, c, d.
    """

    def __init__(self, channels: int, grid: int):
        super().__init__()
        self.grid = grid
        self.pool_weights = nn.Parameter(torch.full((2,), 0.5))
        self.position = nn.Parameter(torch.zeros(1, grid * grid, channels))
        self.norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.out = nn.Linear(channels, channels)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, _EXPANSION * channels),
            nn.GELU(),
            nn.Linear(_EXPANSION * channels, channels),
        )
        self.coefficients = nn.Parameter(torch.ones(4))

    def tokens(self, x: Tensor) -> Tensor:
        """Return (B, grid^2, C): a learned mixture of average and maximum over each cell, plus the positions."""
        mean = functional.adaptive_avg_pool2d(x, self.grid)
        most = functional.adaptive_max_pool2d(x, self.grid)
        mixed = self.pool_weights[0] * mean + self.pool_weights[1] * most
        return mixed.flatten(2).transpose(1, 2) + self.position

    def enhance(self, tokens: Tensor, read: Tensor) -> Tensor:
        """Return the tokens with what the attention has read."""
        a, b, c, d = self.coefficients
        mixed = a * tokens + b * self.out(read)
        enhanced: Tensor = c * mixed + d * self.perceptron(mixed)
        return enhanced


class IterativeCrossAttentionFusion(nn.Module):
    """Enhance the streams by cross-attention, repeated with the same parameters, then fuse by a 1x1 convolution.

    In each iteration, the other stream asks: Z_m = softmax(Q_o K_m^T / sqrt(d)) V_m, with the queries of the other
    stream and the keys and values of stream m. With more than two streams the mean of the others' queries asks. The
    enhanced tokens are upsampled (bilinear) and added to the map. The fused map is the 1x1 convolution of all enhanced
    maps; the streams themselves continue unchanged, as in the paper's halfway fusion.
    Shapes: M maps (B, C, H, W) in; the same maps and the fused map (B, C, H, W) out.
    The layers have no dropout: a run that resumes must not depend on random numbers inside the network.
    Source: arXiv 2308.07504, section 3.
    """

    def __init__(self, channels: int, modalities: int, iterations: int, heads: int, grid: int):
        super().__init__()
        self.iterations, self.heads, self.grid = iterations, heads_for(channels, heads), grid
        self.streams: list[EnhancedStream] = nn.ModuleList(  # type: ignore[assignment]
            EnhancedStream(channels, grid) for _ in range(modalities)
        )
        self.mix = Conv(modalities * channels, channels)

    def forward(self, *maps: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return the unchanged maps and the fused map."""
        tokens = [stream.tokens(x) for stream, x in zip(self.streams, maps, strict=True)]
        for _ in range(self.iterations):
            tokens = self._iterate(tokens)
        enhanced = []
        for x, cells in zip(maps, tokens, strict=True):
            cell_map = cells.transpose(1, 2).unflatten(-1, (self.grid, self.grid))
            enhanced.append(
                x + functional.interpolate(cell_map, size=x.shape[2:], mode="bilinear", align_corners=False)
            )
        return maps, self.mix(torch.cat(enhanced, dim=1))

    def _iterate(self, tokens: list[Tensor]) -> list[Tensor]:
        normed = [stream.norm(t) for stream, t in zip(self.streams, tokens, strict=True)]
        queries = [stream.query(t) for stream, t in zip(self.streams, normed, strict=True)]
        out = []
        for m, stream in enumerate(self.streams):
            others = [query for o, query in enumerate(queries) if o != m]
            asked = others[0] if len(others) == 1 else torch.stack(others).mean(dim=0)
            key, value = stream.key_value(normed[m]).chunk(2, dim=-1)
            asked, key, value = (split_heads(t, self.heads) for t in (asked, key, value))
            read = functional.scaled_dot_product_attention(asked, key, value)
            out.append(stream.enhance(tokens[m], read.transpose(1, 2).flatten(2)))
        return out


@dataclass(frozen=True)
class IcaFusion(FusionOperator):
    """Fuse by an `IterativeCrossAttentionFusion`. Source: arXiv 2308.07504."""

    iterations: int = 1
    """Number of times that the cross-attention is applied; all iterations share their parameters."""
    heads: int = 8
    """Number of attention heads; the largest smaller number that divides the channels if this one does not."""
    grid: int = 16
    """Number of cells along each side of the grid to which a map is pooled."""

    def __post_init__(self) -> None:
        require_int("iterations", self.iterations, 1, 64)
        require_int("heads", self.heads, 1, 64)
        require_int("grid", self.grid, 1, 64)

    def build(self, channels: int, modalities: int, stride: int) -> IterativeCrossAttentionFusion:
        """Return a module that enhances the streams and fuses them by a 1x1 convolution."""
        return IterativeCrossAttentionFusion(channels, modalities, self.iterations, self.heads, self.grid)
