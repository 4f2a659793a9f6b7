# SPDX-License-Identifier: Apache-2.0
"""Inputs of the scan benchmark and the implementations with which scan.py compares the kernel."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

STATE_SIZE = 16
Sequences = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def make_map(channels: int, length: int) -> tuple[Tensor, ...]:
    """Return u, delta, A, B, C, D of a square map for ``selective_scan_2d``; delta is the value before softplus."""
    side, maps = math.isqrt(length), channels // 4
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    projections = (1, 4, STATE_SIZE, side, side)
    return (
        normal(1, maps, side, side),
        normal(1, 4, maps, side, side) - 2,
        -torch.exp(normal(4, maps, STATE_SIZE) / 2),
        normal(*projections),
        normal(*projections),
        normal(4, maps),
    )


def make_sequences(channels: int, length: int) -> Sequences:
    """Return u, delta, A, B, C, D of sequences (channels, L); B and C are (4, N, L), one entry per direction."""
    u, delta, A, B, C, D = make_map(channels, length)
    repeated = u.expand(4, -1, -1, -1).reshape(channels, length).contiguous()
    return (
        repeated,
        delta.reshape(channels, length),
        A.reshape(channels, STATE_SIZE),
        B.reshape(4, STATE_SIZE, length),
        C.reshape(4, STATE_SIZE, length),
        D.reshape(channels),
    )


def loop(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """Return the scan by mamba_ssm's reference algorithm, which repeats B and C for each channel.

    ``unbind`` splits the steps at once. With ``decays[:, t]`` in each step, autograd would create a gradient tensor of
    all steps each time, which would take over ten minutes for (512, 6400).
    """
    delta = torch.nn.functional.softplus(delta)
    decays = torch.exp(torch.einsum("dl,dn->dln", delta, A))
    B, C = (projection.repeat_interleave(len(u) // 4, dim=0) for projection in (B, C))
    inputs = torch.einsum("dl,dnl,dl->dln", delta, B, u)
    state = u.new_zeros(A.shape)
    outputs = []
    for decay, entering, C_step in zip(decays.unbind(1), inputs.unbind(1), C.unbind(2), strict=True):
        state = decay * state + entering
        outputs.append(torch.einsum("dn,dn->d", state, C_step))
    return torch.stack(outputs, dim=1) + u * D[:, None]


def entering_states(delta_u: Tensor, B: Tensor) -> Tensor:
    """Return delta u B (L, channels, N) from delta u (L, channels), without repeating B for each channel."""
    states: Tensor = (delta_u.unflatten(1, (4, -1))[..., None] * B.permute(2, 0, 1)[:, :, None]).flatten(1, 2)
    return states


def time_major(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """Return the scan by the algorithm of `loop` on tensors with the steps outermost."""
    delta, u_steps = torch.nn.functional.softplus(delta).t().contiguous(), u.t().contiguous()
    decays = torch.exp(delta[:, :, None] * A)
    inputs = entering_states(delta * u_steps, B)
    C_steps = C.permute(2, 0, 1)[..., None].contiguous()
    state = u.new_zeros(A.shape)
    outputs = []
    for decay, entering, C_step in zip(decays.unbind(), inputs.unbind(), C_steps.unbind(), strict=True):
        state = torch.addcmul(entering, decay, state)
        outputs.append(torch.bmm(state.view(4, -1, STATE_SIZE), C_step).view(-1))
    return torch.stack(outputs, dim=1) + u * D[:, None]


def parallel_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """Return the scan by mambapy's ``pscan``, whose tensors are (1, L, channels, N)."""
    from mambapy.pscan import pscan

    delta, u_steps = torch.nn.functional.softplus(delta).t(), u.t()
    decays = torch.exp(delta[:, :, None] * A)
    states = pscan(decays[None], entering_states(delta * u_steps, B)[None])[0]
    y = torch.matmul(states.unflatten(1, (4, -1)), C.permute(2, 0, 1)[..., None])
    return y.flatten(1).t() + u * D[:, None]


def with_backward(scan: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return ``scan`` followed by the gradients of all its tensors."""

    def run(*arguments: Tensor) -> Tensor:
        leaves = [argument.detach().requires_grad_() for argument in arguments]
        y = scan(*leaves)
        torch.autograd.grad(y, leaves, torch.ones_like(y))
        return y.detach()

    return run
