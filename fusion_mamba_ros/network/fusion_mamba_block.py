# SPDX-License-Identifier: Apache-2.0
"""The Fusion-Mamba block: channel swapping, then dual state space fusion, at one level of the pyramid."""

from __future__ import annotations

from torch import Tensor, nn

from fusion_mamba_ros.network.channel_swapping import StateSpaceChannelSwapping
from fusion_mamba_ros.network.dual_fusion import DualStateSpaceFusion
from fusion_mamba_ros.network.state_space import DIRECTIONS


class FusionMambaBlock(nn.Module):
    """FMB: enhance each stream by the other streams, F_m + Fusion_m.

    The block consists of SSCS followed by ``dssf_count`` consecutive DSSF modules.
    Shapes: M maps (B, C, H, W) in and out; the number of channels inside the block is divisible by 4.
    ``bottleneck``: maximum number of channels inside the block. If it is below C, 1x1 convolutions before and after
    reduce and restore the channels. The paper does not have these; they make models small enough for a drone.
    ``chained``: whether each DSSF module reads the output of the one before it; if not, the result is that of the last
    module alone, as in the authors' released code. ``sequential``, ``directions``: as in `DualStateSpaceFusion`.
    Source: arXiv 2404.09146, section 3.2.
    """

    def __init__(
        self,
        channels: int,
        dssf_count: int = 8,
        *,
        modalities: int = 2,
        state_size: int = 16,
        sscs: bool = True,
        gate: bool = True,
        dual_attention: bool = True,
        share_ssm: bool = True,
        bottleneck: int | None = None,
        chained: bool = True,
        sequential: bool = False,
        directions: int = DIRECTIONS,
        decay: str = "free",
    ):
        super().__init__()
        self.chained = chained
        inner = channels if bottleneck is None else min(channels, bottleneck)
        self.proj_in: nn.ModuleList | None = None
        self.proj_out: nn.ModuleList | None = None
        if inner < channels:
            self.proj_in = nn.ModuleList(nn.Conv2d(channels, inner, 1, bias=False) for _ in range(modalities))
            self.proj_out = nn.ModuleList(nn.Conv2d(inner, channels, 1, bias=False) for _ in range(modalities))
        depth = dssf_count + int(sscs)
        self.sscs = StateSpaceChannelSwapping(inner, modalities, state_size, depth, directions, decay) if sscs else None
        self.dssf = nn.ModuleList(
            DualStateSpaceFusion(
                inner,
                modalities,
                state_size,
                gate=gate,
                dual_attention=dual_attention,
                share_ssm=share_ssm,
                depth=depth,
                sequential=sequential,
                directions=directions,
                decay=decay,
            )
            for _ in range(dssf_count)
        )

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        """Return the enhanced maps, in the order of the streams."""
        fused = maps if self.proj_in is None else tuple(f(x) for f, x in zip(self.proj_in, maps, strict=True))
        if self.sscs is not None:
            fused = self.sscs(*fused)
        # Without chaining, only the last module has an effect. The others are not computed.
        for dssf in self.dssf if self.chained else self.dssf[-1:]:
            fused = dssf(*fused)
        if self.proj_out is not None:
            fused = tuple(f(x) for f, x in zip(self.proj_out, fused, strict=True))
        return tuple(x + y for x, y in zip(maps, fused, strict=True))
