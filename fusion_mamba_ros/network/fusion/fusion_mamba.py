# SPDX-License-Identifier: Apache-2.0
"""Fusion by Fusion-Mamba blocks."""

from __future__ import annotations

from dataclasses import dataclass

from fusion_mamba_ros.network.fusion.add import AddFusion
from fusion_mamba_ros.network.fusion.operator import FusionOperator
from fusion_mamba_ros.network.fusion_mamba_block import FusionMambaBlock
from fusion_mamba_ros.network.selective_scan.problem import DECAYS
from fusion_mamba_ros.network.setting_checks import require_bool, require_choice, require_int


@dataclass(frozen=True)
class FusionMamba(FusionOperator):
    """Enhance each stream by a `FusionMambaBlock`, then add the streams. Source: arXiv 2404.09146, section 3.2."""

    dssf_count: int = 8
    """Number of consecutive dual state space fusion modules at each level."""
    max_channels: int | None = None
    """Maximum number of channels in a block; None: no limit.

    At a level with more channels, 1x1 projections before and after the block reduce and restore the channels.
    """
    sscs: bool = True
    """Whether channel swapping and its VSS blocks come before the dual state space fusion modules."""
    gate: bool = True
    """Whether the dual state space fusion has gates z; if not, all gates are one."""
    dual_attention: bool = True
    """Whether each stream also reads the hidden states of the other streams."""
    share_ssm: bool = True
    """Whether the streams of a dual state space fusion share the parameters of the selective scan."""
    state_size: int = 16
    """Number of states N per channel in the selective scan."""
    scan_directions: int = 4
    """Scan directions: 4, or 2 (rows and columns) or 1 (rows), forwards only."""
    gating: str = "simultaneous"
    """`simultaneous`: all streams read the original hidden states, as in the paper. `sequential`: a stream reads the
    gated states of the streams before it, as in the authors' released code."""
    dssf_loop: str = "chained"
    """`chained`: each module reads the output of the one before it, as in the paper. `last`: the result is that of the
    last module alone, as in the authors' released code; the other modules are not computed."""
    decay: str = "free"
    """Form of the scan's decay rates: `free` (one per channel and state), `power` or `scalar` (one per channel).

    State n decays with (n + 1) times the rate in the form `power`, with the rate itself in the form `scalar`.
    These forms take less time on a CPU.
    """

    def __post_init__(self) -> None:
        require_int("dssf_count", self.dssf_count, 0, 64)
        require_int("state_size", self.state_size, 1, 256)
        if self.scan_directions not in (1, 2, 4) or isinstance(self.scan_directions, bool):
            raise ValueError(f"scan_directions is {self.scan_directions!r}: choose 1, 2 or 4")
        require_choice("gating", self.gating, ("simultaneous", "sequential"))
        require_choice("dssf_loop", self.dssf_loop, ("chained", "last"))
        require_choice("decay", self.decay, DECAYS)
        for name in ("sscs", "gate", "dual_attention", "share_ssm"):
            require_bool(name, getattr(self, name))
        if self.max_channels is not None:
            require_int("max_channels", self.max_channels, 4, 4096)
            if self.max_channels % 4:
                raise ValueError(f"max_channels is {self.max_channels}: choose a multiple of 4")
        if self.dssf_count == 0 and not self.sscs:
            raise ValueError(
                "dssf_count is 0 and sscs is off, which leaves nothing to fuse with: set fusion: add instead"
            )

    def build(self, channels: int, modalities: int, stride: int) -> AddFusion:
        """Return a module that applies the block and then adds the streams."""
        return AddFusion(
            FusionMambaBlock(
                channels,
                self.dssf_count,
                modalities=modalities,
                state_size=self.state_size,
                sscs=self.sscs,
                gate=self.gate,
                dual_attention=self.dual_attention,
                share_ssm=self.share_ssm,
                bottleneck=self.max_channels,
                chained=self.dssf_loop == "chained",
                sequential=self.gating == "sequential",
                directions=self.scan_directions,
                decay=self.decay,
            )
        )
