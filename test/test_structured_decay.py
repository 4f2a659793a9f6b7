# SPDX-License-Identifier: Apache-2.0
"""The scan with one decay rate for each channel: the forms `power` and `scalar`."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scan_problems import float64_answer, random_inputs, random_map_arguments, relative_error, with_decay
from test_selective_scan_cpu import FORWARD_ERROR, GRADIENT_ERROR, instruction_sets, run

from fusion_mamba_ros.analysis.multiply_adds import count_multiply_adds
from fusion_mamba_ros.network.config import ModelConfig
from fusion_mamba_ros.network.selective_scan import selective_scan, selective_scan_2d, use_backend
from fusion_mamba_ros.network.selective_scan.cpu import CpuBackend
from fusion_mamba_ros.network.selective_scan.problem import Gradients, ScanInputs
from fusion_mamba_ros.network.state_space import SelectiveScan2d

FORMS = ["power", "scalar"]
SHAPES = {
    # State sizes with and without a rest after the groups of four states, and below four.
    "sixteen states": (1, 4, 17, 1, 16, 9, 13),
    "seven states in groups": (2, 1, 12, 3, 7, 1, 260),
    "three states, several panels": (1, 4, 9, 1, 3, 46, 45),
    "one state": (1, 4, 5, 1, 1, 4, 6),
}


def of_first_channels(A: torch.Tensor) -> torch.Tensor:
    return A[..., 0].contiguous()


def assert_agrees_with_float64(name: str, inputs: ScanInputs) -> None:
    grad_y = torch.randn(inputs.u.shape, generator=torch.Generator().manual_seed(31))
    y, gradients = run(CpuBackend(name), inputs, grad_y)
    expected_y, expected = float64_answer(inputs, grad_y)
    assert relative_error(y, expected_y) < FORWARD_ERROR
    for field, found, wanted in zip(Gradients._fields, gradients, expected, strict=True):
        assert found is not None and wanted is not None and found.shape == wanted.shape
        assert relative_error(found, wanted) < GRADIENT_ERROR, field


@pytest.mark.parametrize("name", instruction_sets())
@pytest.mark.parametrize("decay", FORMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_kernel_agrees_with_float64(name: str, decay: str, shape: str) -> None:
    assert_agrees_with_float64(name, with_decay(random_inputs(*SHAPES[shape], seed=30), decay))


@pytest.mark.parametrize("name", instruction_sets())
@pytest.mark.parametrize("decay", FORMS)
def test_small_steps_of_equal_size_keep_their_precision(name: str, decay: str) -> None:
    inputs = with_decay(random_inputs(1, 1, 8, 1, 16, 1, 3000, seed=32), decay)
    # Equal steps make the rounding error of each decay factor grow with the number of steps.
    inputs = inputs._replace(delta=torch.zeros_like(inputs.delta), delta_bias=torch.full((1, 8), -8.0))
    assert_agrees_with_float64(name, inputs)


@pytest.mark.parametrize("name", instruction_sets())
@pytest.mark.parametrize("decay", FORMS)
def test_large_steps_and_fast_decay_stay_finite_and_right(name: str, decay: str) -> None:
    inputs = with_decay(random_inputs(1, 4, 16, 1, 9, 6, 9, seed=33), decay)
    inputs = inputs._replace(
        delta=50 * torch.rand(inputs.delta.shape, generator=torch.Generator().manual_seed(34)),
        delta_bias=torch.zeros(4, 16),
        A=-(10.0 ** (4 * torch.rand(inputs.A.shape, generator=torch.Generator().manual_seed(35)))),
    )
    assert_agrees_with_float64(name, inputs)


@pytest.mark.parametrize("decay", FORMS)
def test_other_backends_get_the_free_form_and_agree(decay: str) -> None:
    leaves: list[Any] = [tensor.requires_grad_() for tensor in random_map_arguments()]
    A = leaves[2]
    results = []
    for backend in ("reference", CpuBackend()):
        for leaf in leaves:
            leaf.grad = None
        with use_backend(backend):
            y = selective_scan_2d(leaves[0], leaves[1], of_first_channels(A), *leaves[3:], decay=decay)
            y.square().sum().backward()
        results.append([y.detach(), *(leaf.grad for leaf in leaves)])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("decay", "multiples"), [("power", (1, 2, 3)), ("scalar", (1, 1, 1))])
def test_form_equals_the_free_form_with_its_rates(decay: str, multiples: tuple[int, int, int]) -> None:
    u, delta, A, B, C, D, bias = random_map_arguments(state_size=3)
    rates = A[..., 0]
    free = torch.stack([multiple * rates for multiple in multiples], dim=-1)
    expected = selective_scan_2d(u, delta, free, B, C, D, bias)
    torch.testing.assert_close(selective_scan_2d(u, delta, rates, B, C, D, bias, decay=decay), expected)
    sequence = (u[:, :, 0], delta[:, 0, :, 0], B[:, 0, :, 0], C[:, 0, :, 0])
    y, state = selective_scan(sequence[0], sequence[1], rates[0], *sequence[2:], return_last_state=True, decay=decay)
    right = selective_scan(sequence[0], sequence[1], free[0], *sequence[2:], return_last_state=True)
    torch.testing.assert_close((y, state), right)


@pytest.mark.parametrize("decay", FORMS)
def test_gradients_in_float64(decay: str) -> None:
    u, delta, A, B, C, D, bias = random_map_arguments(batch=1, channels=2, state_size=2, height=2, width=3)
    double = [t.double().requires_grad_() for t in (u, delta, of_first_channels(A), B, C, D, bias)]
    assert torch.autograd.gradcheck(lambda *tensors: selective_scan_2d(*tensors, decay=decay), double)


@pytest.mark.parametrize("decay", FORMS)
def test_operators_pass_opcheck(decay: str) -> None:
    u, delta, A, B, C, D, bias = random_map_arguments()
    arguments = (u, delta, of_first_channels(A), B, C, D, bias)
    leaves = tuple(tensor.clone().requires_grad_() for tensor in arguments)
    operators = torch.ops.fusion_mamba
    torch.library.opcheck(operators.selective_scan_2d_with_states.default, (*leaves, True, decay))
    y, states = operators.selective_scan_2d_with_states(*arguments, True, decay)
    backward = (torch.ones_like(y), states, *arguments, True, decay)
    torch.library.opcheck(operators.selective_scan_2d_backward.default, backward)


@pytest.mark.parametrize("decay", FORMS)
def test_result_is_the_same_bit_for_bit_for_any_number_of_threads(decay: str) -> None:
    inputs = with_decay(random_inputs(2, 4, 80, 1, 16, 20, 23, seed=36), decay)
    grad_y = torch.randn(inputs.u.shape, generator=torch.Generator().manual_seed(37))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(run(CpuBackend(), inputs, grad_y))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0][0], results[1][0])
    gradients: list[Any] = [result[1] for result in results]
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_unknown_form_and_wrong_rates_are_named() -> None:
    u, delta, A, B, C, D, bias = random_map_arguments()
    with pytest.raises(ValueError, match="decay is 'cubic': choose free, power, scalar"):
        selective_scan_2d(u, delta, A, B, C, D, bias, decay="cubic")
    with pytest.raises(ValueError, match=r"A has shape \(4, 5, 3\), expected \(4, 5\)"):
        selective_scan_2d(u, delta, A, B, C, D, bias, decay="power")
    with pytest.raises(ValueError, match="decay is 'cubic': choose free, power, scalar"):
        ModelConfig.from_dict({"fusion_mamba": {"decay": "cubic"}})


@pytest.mark.parametrize("decay", FORMS)
def test_layer_of_a_form_scans_with_its_rates(decay: str) -> None:
    torch.manual_seed(38)
    layer = SelectiveScan2d(8, 2, state_size=4, decay=decay)
    assert layer.A_log.shape == (4, 8)
    with torch.no_grad():
        layer.A_log.copy_(torch.randn(4, 8) / 2)
    same = SelectiveScan2d(8, 2, state_size=4)
    state = layer.state_dict()
    multiples = torch.arange(1.0, 5.0) if decay == "power" else torch.ones(4)
    state["A_log"] = layer.A_log.detach()[..., None] + multiples.log()
    same.load_state_dict(state)
    x = torch.randn(2, 8, 5, 7)
    torch.testing.assert_close(layer(x), same(x), rtol=1e-4, atol=1e-5)


def test_new_layer_of_the_power_form_equals_the_free_form() -> None:
    """Mamba's initial rates are -1 ... -N, so both forms start as one function."""
    assert torch.equal(SelectiveScan2d(8, 2, decay="power").A_log, torch.zeros(4, 8))
    torch.manual_seed(39)
    power = SelectiveScan2d(8, 2, decay="power")
    torch.manual_seed(39)
    free = SelectiveScan2d(8, 2)
    x = torch.randn(1, 8, 5, 7)
    torch.testing.assert_close(power(x), free(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("decay", "exponentials"), [("free", 7), ("power", 1 + 3), ("scalar", 1)])
def test_complexity_counts_the_exponentials_of_the_form(decay: str, exponentials: int) -> None:
    counts = count_multiply_adds(SelectiveScan2d(8, 2, state_size=7, decay=decay), torch.zeros(2, 8, 3, 5))
    # One more for softplus.
    assert counts.scan_exponentials == 2 * 4 * 8 * 15 * (exponentials + 1)


def test_every_scan_of_a_configured_detector_has_the_form() -> None:
    config = ModelConfig.from_dict({"fusion": "fusion_mamba", "fusion_mamba": {"dssf_count": 1, "decay": "scalar"}})
    assert config.operator is not None
    block = config.operator.build(channels=16, modalities=2, stride=8)
    scans = [module for module in block.modules() if isinstance(module, SelectiveScan2d)]
    assert len(scans) == 3
    assert all(scan.decay == "scalar" and scan.A_log.dim() == 2 for scan in scans)
    assert math.prod(scans[0].A_log.shape) == 4 * scans[0].channels
