# SPDX-License-Identifier: Apache-2.0
"""Dual state space fusion: the deep fusion of the hidden states."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusion_mamba_ros.network.state_space import DIRECTIONS, SelectiveScan2d, StateSpaceStream, dt_rank_of


class DualStateSpaceFusion(nn.Module):
    """DSSF: the gate of each stream weights its own hidden state and, by dual attention, those of the other streams.

    y'_m = y_m z_m + sum of y_o z_m over the other streams o; out_m = Linear(y'_m) + x_m. Both equations use the
    original y, so the order of the streams does not matter.
    Shapes: M maps (B, C, H, W) in and out.
    ``share_ssm``: whether all streams share one selective scan, which then processes them as one batch; otherwise each
    stream has its own scan.
    ``sequential``: gate the streams one after the other, as the authors' released code does; a stream then reads the
    gated states y'_o of the streams before it. ``directions``: scan directions, 1, 2 or 4.
    Source: arXiv 2404.09146, section 3.2.
    """

    def __init__(
        self,
        channels: int,
        modalities: int = 2,
        state_size: int = 16,
        *,
        gate: bool = True,
        dual_attention: bool = True,
        share_ssm: bool = True,
        depth: int = 1,
        sequential: bool = False,
        directions: int = DIRECTIONS,
        decay: str = "free",
    ):
        super().__init__()
        self.dual_attention, self.sequential = dual_attention, sequential
        self.streams: list[StateSpaceStream] = nn.ModuleList(  # type: ignore[assignment]
            StateSpaceStream(channels, gate, depth) for _ in range(modalities)
        )
        scans = 1 if share_ssm else modalities
        self.scans = nn.ModuleList(
            SelectiveScan2d(2 * channels, dt_rank_of(channels), state_size, directions, decay) for _ in range(scans)
        )

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        """Return the deeply fused maps, in the order of the streams."""
        encoded = [stream.encode(x) for stream, x in zip(self.streams, maps, strict=True)]
        scanned = self._scan([hidden for hidden, _ in encoded])
        states = [stream.normalise(y) for stream, y in zip(self.streams, scanned, strict=True)]
        fused = self._attend(states, [gate for _, gate in encoded])
        return tuple(stream.project(y, x) for stream, x, y in zip(self.streams, maps, fused, strict=True))

    def _attend(self, states: list[Tensor], gates: list[Tensor | None]) -> list[Tensor]:
        if self.dual_attention and self.sequential:
            states = list(states)
            for m, gate in enumerate(gates):
                total = _sum(states)
                states[m] = total if gate is None else total * gate
            return states
        # A gate weights all hidden states equally, so the sum of the states is computed once for all streams.
        read = [_sum(states)] * len(states) if self.dual_attention else states
        return [y if gate is None else y * gate for y, gate in zip(read, gates, strict=True)]

    def _scan(self, hidden: list[Tensor]) -> list[Tensor]:
        if len(self.scans) == 1:
            # Flatten the maps first, so that the batch has the memory layout of the scan for any layout of the maps.
            batch = torch.cat([x.flatten(2) for x in hidden]).unflatten(-1, hidden[0].shape[2:])
            return list(self.scans[0](batch).chunk(len(hidden)))
        return [scan(x) for scan, x in zip(self.scans, hidden, strict=True)]


def _sum(states: list[Tensor]) -> Tensor:
    total = states[0]
    for state in states[1:]:
        total = total + state
    return total
