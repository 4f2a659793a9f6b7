# SPDX-License-Identifier: Apache-2.0
"""The selective scan in plain torch: one step of the recurrence after the other. The oracle of all other backends."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def scan_sequences(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
) -> Tensor:
    """Return y of K independent directions, (batch, K, D, L), in the dtype of ``u``; differentiable by autograd.

    u, delta (batch, K, D, L); A (K, D, N); B, C (batch, K, G, N, L), group g serving the g-th block of D / G channels;
    D, delta_bias (K, D). Runs h = exp(delta A) h + delta u B, y = h C + D u step by step, so it is slow and it is stable:
    closed forms over cumulative sums overflow on ordinary inputs.
    Source: arXiv 2312.00752, equation 2 with the simplified (Euler) discretisation of B.
    """
    batch, directions, channels, length = u.shape
    groups, state_size = B.shape[2], B.shape[3]
    if delta_bias is not None:
        delta = delta + delta_bias[None, :, :, None]
    if delta_softplus:
        delta = F.softplus(delta)
    by_group = (batch, directions, groups, channels // groups)
    steps = delta.reshape(*by_group, length).movedim(-1, 0).unsqueeze(-1)
    inputs = (delta * u).reshape(*by_group, length).movedim(-1, 0).unsqueeze(-1)
    A = A.reshape(1, directions, groups, channels // groups, state_size)
    B = B.movedim(-1, 0).unsqueeze(-2)
    C = C.movedim(-1, 0).unsqueeze(-1)
    state = u.new_zeros(*by_group, state_size)
    outputs = []
    for t in range(length):
        state = torch.exp(steps[t] * A) * state + inputs[t] * B[t]
        outputs.append(torch.matmul(state, C[t]).squeeze(-1))
    y = torch.stack(outputs, dim=-1).reshape(u.shape) if outputs else torch.zeros_like(u)
    return y if D is None else y + D[None, :, :, None] * u


def to_sequences(maps: Tensor) -> Tensor:
    """Return maps (batch, K, ..., H, W) as sequences (batch, K, ..., H W), direction k of the K read in its own order.

    Order of directions: rows, columns, rows reversed, columns reversed; K may be 1 (rows) to 4.
    """
    orders = []
    for direction, by_rows in enumerate(maps.unbind(1)):
        walked = (by_rows if direction % 2 == 0 else by_rows.transpose(-1, -2)).flatten(-2)
        orders.append(walked if direction < 2 else walked.flip(-1))
    return torch.stack(orders, dim=1)


def from_sequences(sequences: Tensor, height: int, width: int) -> Tensor:
    """Return the inverse of ``to_sequences``: sequences (batch, K, ..., H W) as maps (batch, K, ..., H, W)."""
    maps = []
    for direction, walked in enumerate(sequences.unbind(1)):
        walked = walked if direction < 2 else walked.flip(-1)
        if direction % 2 == 0:
            maps.append(walked.unflatten(-1, (height, width)))
        else:
            maps.append(walked.unflatten(-1, (width, height)).transpose(-1, -2))
    return torch.stack(maps, dim=1)


def scan_maps(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
) -> Tensor:
    """Return the sum of the K directional scans of a map, (batch, D, H, W); differentiable by autograd.

    u (batch, D, H, W); delta (batch, K, D, H, W); A (K, D, N); B, C (batch, K, G, N, H, W); D, delta_bias (K, D).
    """
    directions, (height, width) = delta.shape[1], u.shape[-2:]
    walked = [to_sequences(maps) for maps in (u.unsqueeze(1).expand_as(delta), delta, B, C)]
    y = scan_sequences(walked[0], walked[1], A, walked[2], walked[3], D, delta_bias, delta_softplus)
    assert y.shape[1] == directions
    return from_sequences(y, height, width).sum(dim=1)
