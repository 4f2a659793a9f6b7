# SPDX-License-Identifier: Apache-2.0
"""The two-dimensional selective scan as a layer, and the visual state space block."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from fusion_mamba_ros.network.selective_scan import selective_scan_2d

DIRECTIONS = 4


class SelectiveScan2d(nn.Module):
    """SS2D: scan a map along rows and columns, forwards and backwards, with separate parameters for each direction.

    Shapes: (B, D, H, W) in and out. ``dt_rank``: rank of the projection to the step sizes; ``state_size``: N.
    ``directions``: 4, or the first 1 or 2 of rows, columns, rows reversed, columns reversed.
    ``decay``: form of the decay rates, see `selective_scan_2d`.
    The projections act on single pixels, so they do not depend on the scan order. They are computed once for all
    directions, in one matrix product on the map in its original order. The scan then indexes the map in each order.
    Source: arXiv 2401.10166 (VMamba), section 4; arXiv 2404.09146, section 3.1.
    """

    def __init__(
        self,
        channels: int,
        dt_rank: int,
        state_size: int = 16,
        directions: int = DIRECTIONS,
        decay: str = "free",
    ):
        super().__init__()
        self.channels, self.dt_rank, self.state_size, self.directions = channels, dt_rank, state_size, directions
        self.decay = decay
        # Order of the rows: the step sizes of all directions, then B of all directions, then C of all directions.
        self.x_proj = nn.Parameter(torch.empty(directions * (dt_rank + 2 * state_size), channels))
        self.dt_proj = nn.Parameter(torch.empty(directions, channels, dt_rank))
        self.dt_bias = nn.Parameter(torch.empty(directions, channels))
        rates = (state_size,) if decay == "free" else ()
        self.A_log = nn.Parameter(torch.empty(directions, channels, *rates))
        self.D = nn.Parameter(torch.empty(directions, channels))
        self.reset_parameters()

    def reset_parameters(self, dt_min: float = 1e-3, dt_max: float = 0.1) -> None:
        """Initialise as in Mamba: A = -1 ... -N, D = 1, step sizes log-uniform in ``dt_min`` ... ``dt_max``.

        The rates of the form `scalar` are -1.
        """
        nn.init.uniform_(self.x_proj, -(self.channels**-0.5), self.channels**-0.5)
        nn.init.uniform_(self.dt_proj, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        with torch.no_grad():
            steps = torch.rand_like(self.dt_bias) * math.log(dt_max / dt_min) + math.log(dt_min)
            # This is the inverse of softplus.
            self.dt_bias.copy_(steps.exp().expm1().log())
            states = torch.arange(1, self.state_size + 1, dtype=torch.float32, device=self.A_log.device)
            self.A_log.copy_(
                states.log().expand_as(self.A_log) if self.decay == "free" else torch.zeros_like(self.A_log)
            )
            self.D.fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of the scans of all directions, (B, D, H, W)."""
        batch, _, height, width = x.shape
        x = x.contiguous()
        projected = channel_mixing(self.x_proj, x.flatten(2))
        count = self.directions
        sizes = (count * self.dt_rank, count * self.state_size, count * self.state_size)
        steps, b, c = projected.split(sizes, dim=1)
        delta = torch.matmul(self.dt_proj, steps.unflatten(1, (count, self.dt_rank)))
        states = (batch, count, self.state_size, height, width)
        return selective_scan_2d(
            x,
            delta.unflatten(-1, (height, width)),
            -_at_least_float32(self.A_log).exp(),
            b.reshape(states),
            c.reshape(states),
            _at_least_float32(self.D),
            delta_bias=_at_least_float32(self.dt_bias),
            delta_softplus=True,
            decay=self.decay,
        )


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def channel_mixing(weight: Tensor, x: Tensor) -> Tensor:
    """Apply ``weight`` (O, C) to the channels of x (B, C, L).

    The result (B, O, L) is contiguous for any strides of x.
    """
    # matmul would fold the batch into the rows, which transposes x and the result.
    return torch.bmm(weight.expand(x.shape[0], -1, -1), x)


class StateSpaceStream(nn.Module):
    """The layers of one stream in a state space block, without the selective scan.

    - `encode`: normalise, project to d_inner = 2 C channels, apply a depthwise convolution and SiLU. The gate is the
      SiLU of a separate projection.
    - `normalise`: normalise the output of the scan.
    - `project`: project back to C channels and add the input.

    ``gate``: whether the stream has a gate. ``depth``: number of consecutive blocks that this one is part of.
    """

    def __init__(self, channels: int, gate: bool = True, depth: int = 1):
        super().__init__()
        self.inner = 2 * channels
        self.norm = nn.LayerNorm(channels)
        self.in_proj = nn.Linear(channels, self.inner, bias=False)
        self.gate_proj = nn.Linear(channels, self.inner, bias=False) if gate else None
        self.conv = nn.Conv2d(self.inner, self.inner, 3, padding=1, groups=self.inner)
        self.inner_norm = nn.LayerNorm(self.inner)
        self.out_proj = nn.Linear(self.inner, channels, bias=False)
        # The initial weights are small, and smaller for more consecutive blocks, so that each block starts close to the
        # identity. A deep fusion then neither blurs nor inflates the features of untrained backbones.
        nn.init.trunc_normal_(self.out_proj.weight, std=0.02 / math.sqrt(2 * depth))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the scan input (B, d_inner, H, W) and the gate (B, H * W, d_inner) or None for a map (B, C, H, W)."""
        tokens = self.norm(x.flatten(2).transpose(1, 2))
        hidden = _linear_map(self.in_proj, tokens, x)
        gate = None if self.gate_proj is None else functional.silu(self.gate_proj(tokens))
        return functional.silu(self.conv(hidden)), gate

    def normalise(self, scanned: Tensor) -> Tensor:
        """Return the hidden state (B, H * W, d_inner) of a scanned map (B, d_inner, H, W)."""
        normalised: Tensor = self.inner_norm(scanned.flatten(2).transpose(1, 2))
        return normalised

    def project(self, tokens: Tensor, x: Tensor) -> Tensor:
        """Return x (B, C, H, W) plus the projection of tokens (B, H * W, d_inner)."""
        return x + _linear_map(self.out_proj, tokens, x)


def _linear_map(linear: nn.Linear, tokens: Tensor, like: Tensor) -> Tensor:
    """Apply ``linear`` to tokens (B, L, C); the result is a map (B, O, H, W) with the memory layout of ``like``."""
    # With channels last, tokens and map have the same memory layout. Otherwise the matrix product itself transposes.
    if like.is_contiguous(memory_format=torch.channels_last):
        mixed: Tensor = linear(tokens).transpose(1, 2)
    else:
        mixed = channel_mixing(linear.weight, tokens.transpose(1, 2))
    result: Tensor = mixed.unflatten(-1, like.shape[2:])
    return result


def dt_rank_of(channels: int) -> int:
    """Return the rank of the step size projection for a block of C channels: ceil(C / 16)."""
    return -(-channels // 16)


class VisualStateSpaceBlock(nn.Module):
    """VSS block: x + branch(LN(x)), where the branch is a gated selective scan of the map.

    Shapes: (B, C, H, W) in and out. ``depth``: number of consecutive blocks that this one is part of.
    Source: arXiv 2404.09146, section 3.1.
    """

    def __init__(
        self,
        channels: int,
        state_size: int = 16,
        depth: int = 1,
        directions: int = DIRECTIONS,
        decay: str = "free",
    ):
        super().__init__()
        self.stream = StateSpaceStream(channels, depth=depth)
        self.scan = SelectiveScan2d(self.stream.inner, dt_rank_of(channels), state_size, directions, decay)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output map."""
        hidden, gate = self.stream.encode(x)
        state = self.stream.normalise(self.scan(hidden))
        return self.stream.project(state if gate is None else state * gate, x)
