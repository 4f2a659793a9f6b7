# SPDX-License-Identifier: Apache-2.0
"""The test matrices that mamba_ssm and VMamba publish for their scan: sizes, dtypes, options, tolerances.

mamba_ssm (`tests/ops/test_selective_scan.py`): 2 sequences, 4 channels, 8 states, 128 to 4096 steps, one or two
groups, with D, z, delta_bias, softplus and the last state. VMamba (`kernels/selective_scan/test_selective_scan.py`):
2 sequences, 768 channels, 1 state, 64 to 4096 steps, without z, with and without D, delta_bias and softplus. Here most
of its cases have 32 channels, to save time. B and C that do not vary and complex A, which mamba_ssm's file lists but
does not run, are not supported.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fusion_mamba_ros.network.selective_scan import selective_scan

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# Relative and absolute tolerance of y and the last state.
TOLERANCES = {torch.float32: (6e-4, 2e-3), torch.float16: (3e-3, 5e-3), torch.bfloat16: (3e-2, 5e-2)}
SEED = 0


class Case(NamedTuple):
    dtype: torch.dtype
    steps: int
    groups: int
    D: bool = True
    z: bool = True
    bias: bool = True
    softplus: bool = True
    channels: int = 4
    states: int = 8


MAMBA_SSM = [Case(*values) for values in itertools.product(DTYPES, (128, 256, 512, 1024, 2048, 4096), (1, 2))]
OPTIONS = list(itertools.product((1, 2), (False, True), (False,), (False, True), (False, True)))
VMAMBA = [
    *(Case(dtype, 64, *options, channels=32, states=1) for dtype in DTYPES for options in OPTIONS),
    *(
        Case(DTYPES[index % 3], steps, *OPTIONS[(5 * index) % 16], channels=32, states=1)
        for index, steps in enumerate((128, 256, 512, 1024, 2048, 4096))
    ),
    Case(torch.float16, 512, *OPTIONS[-1], channels=768, states=1),
]


def name_of(case: Case) -> str:
    options = "".join(f"-{name}" for name in ("D", "z", "bias", "softplus") if getattr(case, name))
    return f"{case.dtype}-{case.steps}-{case.groups} groups-{case.channels}x{case.states}{options}".replace(
        "torch.", ""
    )


def published(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    bias: Tensor | None,
    softplus: bool,
) -> tuple[Tensor, Tensor]:
    """Return y in the dtype of u and the last state, computed in float32; B and C are (B, G, N, L)."""
    values, step = u.float(), delta.float()
    if bias is not None:
        step = step + bias[:, None]
    if softplus:
        step = functional.softplus(step)
    repeats = u.shape[1] // B.shape[1]
    B, C = (projection.float().repeat_interleave(repeats, dim=1) for projection in (B, C))
    decays = torch.exp(step[:, :, None] * A[:, :, None])
    entering = (step * values)[:, :, None] * B
    state = torch.zeros_like(entering[..., 0])
    states = []
    for decay, value in zip(decays.unbind(-1), entering.unbind(-1), strict=True):
        state = torch.addcmul(value, decay, state)
        states.append(state)
    y = (torch.stack(states, dim=-1) * C).sum(2)
    if D is not None:
        y = y + D[:, None] * values
    if z is not None:
        y = y * functional.silu(z.float())
    return y.to(u.dtype), state


@pytest.mark.parametrize("case", [*MAMBA_SSM, *VMAMBA], ids=name_of)
def test_scan_meets_the_published_tolerances(case: Case) -> None:
    generator = torch.Generator().manual_seed(SEED)
    batch, dtype, channels = 2, case.dtype, case.channels

    def normal(*shape: int, dtype: torch.dtype = dtype) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    def uniform(*shape: int, dtype: torch.dtype = dtype) -> Tensor:
        return (0.5 * torch.rand(shape, generator=generator)).to(dtype)

    def optional(wanted: bool, value: Tensor) -> Tensor | None:
        return value if wanted else None

    tensors: dict[str, Any] = {
        "u": normal(batch, channels, case.steps),
        "delta": uniform(batch, channels, case.steps),
        "A": -uniform(channels, case.states, dtype=torch.float32),
        "B": normal(batch, case.groups, case.states, case.steps),
        "C": normal(batch, case.groups, case.states, case.steps),
        "D": optional(case.D, normal(channels, dtype=torch.float32)),
        "z": optional(case.z, normal(batch, channels, case.steps)),
        "delta_bias": optional(case.bias, uniform(channels, dtype=torch.float32)),
    }

    def leaves() -> dict[str, Any]:
        return {name: None if tensor is None else tensor.clone().requires_grad_() for name, tensor in tensors.items()}

    ours, theirs = leaves(), leaves()
    y, state = selective_scan(**ours, delta_softplus=case.softplus, return_last_state=True)
    u, delta, A, B, C, D, z, bias = theirs.values()
    expected, expected_state = published(u, delta, A, B, C, D, z, bias, case.softplus)
    rtol, atol = TOLERANCES[dtype]
    weight_rtol, weight_atol = (max(1e-3, rtol), max(1e-3, atol)) if case.z else (1e-3, 1e-3)
    assert y.dtype == dtype
    torch.testing.assert_close(y, expected, rtol=rtol, atol=atol)
    torch.testing.assert_close(state, expected_state, rtol=rtol, atol=atol)

    grad_y = normal(*y.shape)
    y.backward(grad_y)
    expected.backward(grad_y)
    tolerances = {"u": (2 * rtol, 2 * atol), "delta": (5 * rtol, 10 * atol), "A": (weight_rtol, 5 * weight_atol)}
    tolerances |= dict.fromkeys(("B", "C"), (rtol, atol))
    for name, found in ours.items():
        if found is not None:
            rtol, atol = tolerances.get(name, (weight_rtol, weight_atol))
            wanted = theirs[name]
            assert wanted is not None
            torch.testing.assert_close(
                found.grad, wanted.grad, rtol=rtol, atol=atol, msg=partial("{}: {}".format, name)
            )
