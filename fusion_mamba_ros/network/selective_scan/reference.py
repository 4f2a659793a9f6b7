# SPDX-License-Identifier: Apache-2.0
"""Selective scan in plain torch, one step of the recurrence at a time. All other backends are tested against it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fusion_mamba_ros.network.selective_scan.problem import Gradients, ScanInputs, rates_of_states


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

    Shapes: u, delta (batch, K, D, L); A (K, D, N); B, C (batch, K, G, N, L); D, delta_bias (K, D). Group g of B and C
    belongs to the g-th block of D / G channels. Computes h = exp(delta A) h + delta u B and y = h C + D u step by
    step. This is slow but numerically stable: closed forms over cumulative sums overflow on ordinary inputs.
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
    """Return maps (batch, K, ..., H, W) as sequences (batch, K, ..., H W), each direction in its scan order.

    The directions are rows, columns, rows reversed, columns reversed. K may be 1 (rows only) to 4.
    """
    orders = []
    for direction, by_rows in enumerate(maps.unbind(1)):
        walked = (by_rows if direction % 2 == 0 else by_rows.transpose(-1, -2)).flatten(-2)
        orders.append(walked if direction < 2 else walked.flip(-1))
    return torch.stack(orders, dim=1)


def from_sequences(sequences: Tensor, height: int, width: int) -> Tensor:
    """Return sequences (batch, K, ..., H W) as maps (batch, K, ..., H, W); the inverse of ``to_sequences``."""
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
    decay: str = "free",
) -> Tensor:
    """Return the sum of the K directional scans of a map, (batch, D, H, W); differentiable by autograd.

    Shapes: u (batch, D, H, W); delta (batch, K, D, H, W); A (K, D, N), or (K, D) if ``decay`` is not `free`; B, C
    (batch, K, G, N, H, W); D, delta_bias (K, D).
    """
    A = rates_of_states(A, decay, B.shape[3])
    height, width = u.shape[-2:]
    walked = [to_sequences(maps) for maps in (u.unsqueeze(1).expand_as(delta), delta, B, C)]
    y = scan_sequences(walked[0], walked[1], A, walked[2], walked[3], D, delta_bias, delta_softplus)
    return from_sequences(y, height, width).sum(dim=1)


def scan_sequences_backward(
    grad_y: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of ``scan_sequences`` in the order of its arguments.

    The gradients of D and delta_bias are returned also if D or delta_bias is None. A registered operator cannot use
    autograd inside, therefore the formulas are written out here; kernel/backward.h uses the same ones. Keeps all L
    states in memory.
    """
    batch, directions, channels, length = u.shape
    groups, state_size = B.shape[2], B.shape[3]
    shape = (batch, directions, groups, channels // groups)
    raw = delta if delta_bias is None else delta + delta_bias[None, :, :, None]
    delta = F.softplus(raw) if delta_softplus else raw
    steps, values, dy = (x.reshape(*shape, length).movedim(-1, 0).unsqueeze(-1) for x in (delta, u, grad_y))
    rates = A.reshape(1, directions, groups, channels // groups, state_size)
    B_steps, C_steps = B.movedim(-1, 0).unsqueeze(-2), C.movedim(-1, 0).unsqueeze(-2)

    states = [u.new_zeros(*shape, state_size)]
    for t in range(length):
        states.append(torch.exp(steps[t] * rates) * states[-1] + steps[t] * values[t] * B_steps[t])

    carry = torch.zeros_like(states[0])
    grad_rates = torch.zeros_like(states[0])
    grad_u, grad_delta, grad_B, grad_C = [], [], [], []
    for t in reversed(range(length)):
        decay = torch.exp(steps[t] * rates)
        g = C_steps[t] * dy[t] + carry
        carry = decay * g
        through = carry * states[t]
        g_B = (g * B_steps[t]).sum(-1)
        grad_u.append(steps[t].squeeze(-1) * g_B)
        grad_delta.append((through * rates).sum(-1) + values[t].squeeze(-1) * g_B)
        grad_B.append((g * steps[t] * values[t]).sum(-2))
        grad_C.append((states[t + 1] * dy[t]).sum(-2))
        grad_rates += through * steps[t]

    def over_time(backwards: list[Tensor], like: Tensor) -> Tensor:
        return torch.stack(backwards[::-1], dim=-1).reshape(like.shape) if backwards else torch.zeros_like(like)

    to_u, to_delta = over_time(grad_u, u), over_time(grad_delta, u)
    if D is not None:
        to_u = to_u + D[None, :, :, None] * grad_y
    if delta_softplus:
        to_delta = to_delta * torch.sigmoid(raw)
    return (
        to_u,
        to_delta,
        grad_rates.sum(0).reshape(A.shape),
        over_time(grad_B, B),
        over_time(grad_C, C),
        (grad_y * u).sum((0, 3)),
        to_delta.sum((0, 3)),
    )


class ReferenceBackend:
    """Run the plain torch scan: slow, for any device, float32 and float64."""

    name = "reference"
    device_type = None
    dtypes = (torch.float32, torch.float64)
    slow = True
    structured_decay = False

    def unavailable_reason(self) -> str | None:
        """Return None: the backend needs only torch."""
        return None

    def states_shape(self, inputs: ScanInputs) -> tuple[int, ...]:
        """Return the shape of an empty tensor: ``backward`` recomputes the states from the inputs."""
        return (0,)

    def forward(self, inputs: ScanInputs, keep_states: bool) -> tuple[Tensor, Tensor]:
        """Return y and an empty tensor in place of the states."""
        return scan_maps(*inputs).contiguous(), inputs.u.new_empty(0)

    def backward(self, inputs: ScanInputs, grad_y: Tensor, states: Tensor) -> Gradients:
        """Return the gradients of all inputs."""
        height, width = inputs.u.shape[-2:]
        u = inputs.u.unsqueeze(1).expand_as(inputs.delta)
        grad_y = grad_y.unsqueeze(1).expand_as(inputs.delta)
        walked = [to_sequences(maps) for maps in (grad_y, u, inputs.delta, inputs.B, inputs.C)]
        results = scan_sequences_backward(walked[0], walked[1], walked[2], inputs.A, walked[3], walked[4], *inputs[5:8])
        grad_u, grad_delta, grad_B, grad_C = (from_sequences(results[index], height, width) for index in (0, 1, 3, 4))
        return Gradients(
            u=grad_u.sum(dim=1),
            delta=grad_delta,
            A=results[2],
            B=grad_B,
            C=grad_C,
            D=None if inputs.D is None else results[5],
            delta_bias=None if inputs.delta_bias is None else results[6],
        )
