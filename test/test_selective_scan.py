# SPDX-License-Identifier: Apache-2.0
"""The two public functions: meaning, dtypes, autocast, strides, and what bad input gets."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from scan_problems import brute_force_scan, random_inputs, random_map_arguments, relative_error

from fusion_mamba_ros.network.selective_scan import selective_scan, selective_scan_2d


def test_map_scan_is_the_sum_of_four_walks_pixel_by_pixel() -> None:
    arguments = random_map_arguments(batch=2, channels=3, state_size=2, height=3, width=5)
    y = selective_scan_2d(*arguments)
    for image in range(2):
        u, delta, A, B, C, D, bias = arguments
        expected = brute_force_scan(u[image], delta[image], A, B[image], C[image], D, bias)
        assert relative_error(y[image], expected) < 1e-6


def test_sequence_scan_is_the_first_direction_of_a_map_one_pixel_high() -> None:
    u, delta, A, B, C, D, bias = random_map_arguments(height=1, width=37)
    silent = torch.tensor([1.0, 0.0, 0.0, 0.0])
    by_map = selective_scan_2d(u, delta, A, B, C * silent[None, :, None, None, None], D * silent[:, None], bias)
    by_sequence = selective_scan(
        u[:, :, 0], delta[:, 0, :, 0], A[0], B[:, 0, :, 0], C[:, 0, :, 0], D[0], None, bias[0], True
    )
    torch.testing.assert_close(by_sequence, by_map[:, :, 0])


def test_groups_serve_blocks_of_channels() -> None:
    inputs = random_inputs(2, 1, 6, 3, 4, 1, 19, seed=1)
    u, delta, A, B, C = inputs.u[:, :, 0], inputs.delta[:, 0, :, 0], inputs.A[0], inputs.B[:, 0, ..., 0, :], inputs.C
    C = C[:, 0, ..., 0, :]
    together: Any = selective_scan(u, delta, A, B, C, delta_softplus=True)
    for group in range(3):
        block = slice(2 * group, 2 * group + 2)
        alone = selective_scan(u[:, block], delta[:, block], A[block], B[:, group], C[:, group], delta_softplus=True)
        torch.testing.assert_close(together[:, block], alone)


def test_z_gates_the_sequence_by_silu() -> None:
    u, delta, A, B, C, _, _ = random_map_arguments(height=1, width=11)
    sequence = (u[:, :, 0], delta[:, 0, :, 0].abs(), A[0], B[:, 0, :, 0], C[:, 0, :, 0])
    z = torch.randn(2, 5, 11, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(selective_scan(*sequence, z=z), selective_scan(*sequence) * F.silu(z))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_z_gates_before_y_is_rounded(dtype: torch.dtype) -> None:
    u, delta, A, B, C, _, _ = random_map_arguments(height=1, width=61)
    low = [x.to(dtype) for x in (u[:, :, 0], delta[:, 0, :, 0].abs(), B[:, 0, :, 0], C[:, 0, :, 0])]
    z = torch.randn(2, 5, 61, generator=torch.Generator().manual_seed(4)).to(dtype)
    y = selective_scan(low[0], low[1], A[0], low[2], low[3], z=z)
    precise: Any = selective_scan(low[0].float(), low[1].float(), A[0], low[2].float(), low[3].float(), z=z.float())
    torch.testing.assert_close(y, precise.to(dtype), rtol=0, atol=0)


@pytest.mark.parametrize("softplus", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
def test_last_state_is_the_state_after_the_last_step(softplus: bool, with_bias: bool) -> None:
    inputs = random_inputs(2, 1, 6, 3, 4, 1, 19, seed=2)
    assert inputs.delta_bias is not None
    u, delta, A, B, C = inputs.u[:, :, 0], inputs.delta[:, 0, :, 0], inputs.A[0], inputs.B[:, 0, ..., 0, :], inputs.C
    bias = inputs.delta_bias[0] if with_bias else None
    if not softplus:
        delta, bias = delta.abs(), None if bias is None else bias.abs()
    arguments = (u, delta, A, B, C[:, 0, ..., 0, :], None, None, bias, softplus)
    y, state = selective_scan(*arguments, return_last_state=True)
    torch.testing.assert_close(y, selective_scan(*arguments))
    steps = arguments[1].double() + (0 if bias is None else bias[:, None])
    steps = F.softplus(steps) if softplus else steps
    expected = torch.zeros(2, 6, 4, dtype=torch.float64)
    for t in range(19):
        entering = steps[:, :, t, None] * u[:, :, t, None] * B.repeat_interleave(2, dim=1)[..., t]
        expected = torch.exp(steps[:, :, t, None] * A) * expected + entering
    assert relative_error(state, expected) < 1e-6


def test_last_state_of_half_precision_is_float32_and_not_moved_by_the_bias() -> None:
    u = torch.ones(1, 1, 3, dtype=torch.bfloat16)
    one = torch.ones(1, 1, 3, dtype=torch.bfloat16)
    bias = torch.tensor([0.3001])
    y, state = selective_scan(u, one, -torch.ones(1, 1), one, one, delta_bias=bias, return_last_state=True)
    step = 1.3001
    decay = math.exp(-step)
    assert (y.dtype, state.dtype) == (torch.bfloat16, torch.float32)
    assert float(state) == pytest.approx(step * (1 + decay + decay**2), rel=1e-6)


def test_last_state_has_gradients() -> None:
    u, delta, A, B, C, D, bias = (t.double() for t in random_map_arguments(1, 2, 2, 1, 4))
    sequence = [u[:, :, 0], delta[:, 0, :, 0], A[0], B[:, 0, :, 0], C[:, 0, :, 0], D[0], bias[0]]
    leaves: list[Any] = [tensor.contiguous().requires_grad_() for tensor in sequence]

    def run(*tensors: Any) -> torch.Tensor:
        u, delta, A, B, C, D, bias = tensors
        return selective_scan(u, delta, A, B, C, D, None, bias, True, return_last_state=True)[1]

    assert torch.autograd.gradcheck(run, leaves)


def test_strides_do_not_matter() -> None:
    arguments = random_map_arguments()
    strided: list[Any] = [tensor.transpose(0, -1).contiguous().transpose(0, -1) for tensor in arguments]
    assert not strided[1].is_contiguous()
    torch.testing.assert_close(selective_scan_2d(*strided), selective_scan_2d(*arguments), rtol=0, atol=0)


def test_half_precision_is_computed_in_float32_and_returned_in_its_own_dtype() -> None:
    u, delta, A, B, C, D, bias = random_map_arguments()
    low = [tensor.bfloat16() for tensor in (u, delta, B, C)]
    y = selective_scan_2d(low[0], low[1], A, low[2], low[3], D, bias)
    expected = selective_scan_2d(low[0].float(), low[1].float(), A, low[2].float(), low[3].float(), D, bias)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y, expected.bfloat16(), rtol=0, atol=0)


def test_autocast_allows_mixed_dtypes_and_keeps_the_states_in_float32() -> None:
    u, delta, A, B, C, D, bias = (tensor.requires_grad_() for tensor in random_map_arguments())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = selective_scan_2d(u, delta.bfloat16(), A, B.bfloat16(), C, D, bias)
    assert y.dtype == torch.float32
    expected = selective_scan_2d(u, delta.bfloat16().float(), A, B.bfloat16().float(), C, D, bias)
    torch.testing.assert_close(y, expected, rtol=0, atol=0)
    y.sum().backward()
    assert u.grad is not None and u.grad.dtype == torch.float32


def test_gradient_checks_in_float64() -> None:
    arguments = random_map_arguments(batch=1, channels=2, state_size=2, height=2, width=3)
    double = [tensor.double().requires_grad_() for tensor in arguments]
    assert torch.autograd.gradcheck(selective_scan_2d, double)


@pytest.mark.parametrize("shape", [(0, 5, 4, 6), (2, 0, 4, 6), (2, 5, 0, 6), (2, 5, 4, 0)])
def test_empty_map_gives_an_empty_result_and_zero_gradients(shape: tuple[int, int, int, int]) -> None:
    batch, channels, height, width = shape
    arguments: list[Any] = [t.requires_grad_() for t in random_map_arguments(batch, channels, 3, height, width)]
    y = selective_scan_2d(*arguments)
    assert y.shape == shape
    y.sum().backward()
    assert all(t.grad is not None and t.grad.shape == t.shape and not t.grad.any() for t in arguments)


def test_nan_stays_in_its_channel_and_image() -> None:
    u, delta, A, B, C, D, bias = random_map_arguments(batch=2, channels=20, height=5, width=7)
    u[1, 17, 2, 3] = float("nan")
    y = selective_scan_2d(u, delta, A, B, C, D, bias)
    spoilt = y.isnan().flatten(2).any(-1)
    assert spoilt.nonzero().tolist() == [[1, 17]]
    assert y[1, 17].isnan().all()


NOT_FITTING = {
    "delta": (1, torch.zeros(2, 4, 5, 4, 7), r"delta has shape \(2, 4, 5, 4, 7\), expected \(2, 4, 5, 4, 6\)"),
    "A": (2, torch.zeros(3, 5, 3), r"A has shape \(3, 5, 3\), expected \(4, 5, 3\)"),
    "B": (3, torch.zeros(2, 4, 2, 4, 6), r"B has shape \(2, 4, 2, 4, 6\), expected \(2, 4, 3, 4, 6\)"),
    "C": (4, torch.zeros(2, 4, 3, 24), r"C has shape \(2, 4, 3, 24\), expected \(2, 4, 3, 4, 6\)"),
    "D": (5, torch.zeros(5), r"D has shape \(5,\), expected \(4, 5\)"),
    "delta_bias": (6, torch.zeros(4, 6), r"delta_bias has shape \(4, 6\), expected \(4, 5\)"),
    "u": (0, torch.zeros(2, 5, 24), r"u must be \(B, D, H, W\), got shape \(2, 5, 24\)"),
}


@pytest.mark.parametrize("name", NOT_FITTING)
def test_wrong_shape_is_named(name: str) -> None:
    arguments: list[Any] = list(random_map_arguments())
    place, wrong, message = NOT_FITTING[name]
    arguments[place] = wrong
    with pytest.raises(ValueError, match=message):
        selective_scan_2d(*arguments)


def test_state_size_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="state size 0"):
        selective_scan_2d(*random_map_arguments(state_size=0))


def test_groups_that_do_not_divide_the_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="2 groups, which do not divide the 5 channels"):
        selective_scan(*cast(Any, [torch.zeros(s) for s in ((1, 5, 7), (1, 5, 7), (5, 3), (1, 2, 3, 7), (1, 2, 3, 7))]))


def test_mixed_dtypes_without_autocast_are_refused() -> None:
    u, delta, A, B, C, D, bias = random_map_arguments()
    with pytest.raises(TypeError, match=r"delta is torch\.bfloat16 but u is torch\.float32"):
        selective_scan_2d(u, delta.bfloat16(), A, B, C, D, bias)
    with pytest.raises(TypeError, match=r"A is torch\.float64, expected float32"):
        selective_scan_2d(u, delta, A.double(), B, C, D, bias)


def test_integers_are_refused() -> None:
    with pytest.raises(TypeError, match=r"u is torch\.int64, expected a floating point tensor"):
        selective_scan_2d(*cast(Any, [tensor.long() for tensor in random_map_arguments()]))
