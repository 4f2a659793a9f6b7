# SPDX-License-Identifier: Apache-2.0
"""Input and output types of all scan backends, and the checks that convert a caller's tensors to them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

DIRECTIONS = 4

# Forms of the decay rates, in the order of the constants of kernel/scan.h. free: A holds a rate for each state; power:
# state n decays with (n + 1) A; scalar: all states decay with A.
DECAYS = ("free", "power", "scalar")


def rates_of_states(A: Tensor, decay: str, state_size: int) -> Tensor:
    """Return the decay rates (..., N) of all states; A is (..., N) in the form `free`, otherwise (...)."""
    if decay == "free":
        return A
    if decay == "scalar":
        return A.unsqueeze(-1).expand(*A.shape, state_size)
    return A.unsqueeze(-1) * torch.arange(1, state_size + 1, dtype=A.dtype, device=A.device)


class ScanInputs(NamedTuple):
    """Hold the tensors of K directional scans of one map; the directions share u.

    Shapes: u (batch, D, H, W); delta (batch, K, D, H, W); A (K, D, N), or (K, D) if ``decay`` is not `free`; B, C
    (batch, K, G, N, H, W); D, delta_bias (K, D) or None. Group g of B and C belongs to the g-th block of D / G
    channels. The directions are the first K of: rows, columns, rows reversed, columns reversed. A sequence is a map
    with K = 1 and height 1.
    """

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    delta_bias: Tensor | None
    delta_softplus: bool
    decay: str = "free"

    def tensors(self) -> dict[str, Tensor | None]:
        """Return the tensors by name."""
        return {name: getattr(self, name) for name in Gradients._fields}

    def with_free_decay(self) -> ScanInputs:
        """Return the same problem with a decay rate for each state."""
        return self._replace(A=rates_of_states(self.A, self.decay, self.B.shape[3]), decay="free")

    def contiguous(self) -> ScanInputs:
        """Return the same inputs with every tensor contiguous in memory."""
        return ScanInputs(
            u=self.u.contiguous(),
            delta=self.delta.contiguous(),
            A=self.A.contiguous(),
            B=self.B.contiguous(),
            C=self.C.contiguous(),
            D=None if self.D is None else self.D.contiguous(),
            delta_bias=None if self.delta_bias is None else self.delta_bias.contiguous(),
            delta_softplus=self.delta_softplus,
            decay=self.decay,
        )


class Gradients(NamedTuple):
    """Hold the gradients of ``ScanInputs``: each has the shape of its input, or is None if the input is None."""

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    delta_bias: Tensor | None

    def of_decay(self, decay: str) -> Gradients:
        """Return the gradients of a problem from those of its ``with_free_decay``."""
        if decay == "free":
            return self
        weights = rates_of_states(self.A.new_ones(()), decay, self.A.shape[-1])
        return self._replace(A=(self.A * weights).sum(-1))


def map_inputs(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    decay: str = "free",
) -> ScanInputs:
    """Check the arguments of ``selective_scan_2d`` and return them as ``ScanInputs``.

    Raises ``ValueError`` if shapes or devices do not match, ``TypeError`` if dtypes do not match.
    """
    if u.dim() != 4:
        raise ValueError(f"selective_scan_2d: u must be (B, D, H, W), got shape {_shape(u)}")
    batch, channels, height, width = u.shape
    state_size = _state_size("selective_scan_2d", A, B, 2, decay)
    # Fewer directions than four are the first of them.
    count = delta.shape[1] if delta.dim() == 5 and 1 <= delta.shape[1] <= DIRECTIONS else DIRECTIONS
    expected: dict[str, tuple[int, ...]] = {
        "delta": (batch, count, channels, height, width),
        "A": (count, channels, state_size) if decay == "free" else (count, channels),
        "B": (batch, count, state_size, height, width),
        "C": (batch, count, state_size, height, width),
        "D": (count, channels),
        "delta_bias": (count, channels),
    }
    _check("selective_scan_2d", u, {"delta": delta, "A": A, "B": B, "C": C, "D": D, "delta_bias": delta_bias}, expected)
    return ScanInputs(u, delta, A, B.unsqueeze(2), C.unsqueeze(2), D, delta_bias, delta_softplus, decay)


def sequence_inputs(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    decay: str = "free",
) -> ScanInputs:
    """Check the arguments of ``selective_scan`` and return them as ``ScanInputs``.

    B and C must have groups: (B, G, N, L). Raises the errors of ``map_inputs``.
    """
    if u.dim() != 3:
        raise ValueError(f"selective_scan: u must be (B, D, L), got shape {_shape(u)}")
    batch, channels, length = u.shape
    state_size = _state_size("selective_scan", A, B, -2, decay)
    groups = B.shape[1] if B.dim() == 4 else 1
    if groups == 0 or channels % groups:
        raise ValueError(f"selective_scan: B has {groups} groups, which do not divide the {channels} channels of u")
    expected: dict[str, tuple[int, ...]] = {
        "delta": (batch, channels, length),
        "A": (channels, state_size) if decay == "free" else (channels,),
        "B": (batch, groups, state_size, length),
        "C": (batch, groups, state_size, length),
        "D": (channels,),
        "delta_bias": (channels,),
    }
    _check("selective_scan", u, {"delta": delta, "A": A, "B": B, "C": C, "D": D, "delta_bias": delta_bias}, expected)
    return ScanInputs(
        u.unsqueeze(2),
        delta.unsqueeze(1).unsqueeze(3),
        A.unsqueeze(0),
        B.unsqueeze(1).unsqueeze(4),
        C.unsqueeze(1).unsqueeze(4),
        None if D is None else D.unsqueeze(0),
        None if delta_bias is None else delta_bias.unsqueeze(0),
        delta_softplus,
        decay,
    )


def _state_size(operator: str, A: Tensor, B: Tensor, dimension: int, decay: str) -> int:
    """Return N, which A shows in the free form and B (its ``dimension``) in the others; 0 if there is none."""
    if decay not in DECAYS:
        raise ValueError(f"{operator}: decay is {decay!r}: choose {', '.join(DECAYS)}")
    size = (A.shape[-1] if A.dim() else 0) if decay == "free" else (B.shape[dimension] if B.dim() > 2 else 0)
    if size == 0:
        raise ValueError(
            f"{operator}: {'A' if decay == 'free' else 'B'} has state size 0: at least one state is needed"
        )
    return size


def _check(operator: str, u: Tensor, others: dict[str, Tensor | None], expected: dict[str, tuple[int, ...]]) -> None:
    for name, tensor in others.items():
        if tensor is None:
            continue
        if tensor.dim() != len(expected[name]) or tuple(tensor.shape) != expected[name]:
            raise ValueError(
                f"{operator}: {name} has shape {_shape(tensor)}, expected {expected[name]} beside u {_shape(u)}"
            )
        if tensor.dtype != u.dtype:
            raise TypeError(f"{operator}: {name} is {tensor.dtype} but u is {u.dtype}: convert one of them")
        if tensor.device != u.device:
            raise ValueError(f"{operator}: {name} is on {tensor.device} but u is on {u.device}: move one of them")


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)
