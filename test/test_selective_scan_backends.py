# SPDX-License-Identifier: Apache-2.0
"""Which backend runs: the choice, its warnings, and the mamba_ssm backend on a stand-in for its CUDA kernel."""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from scan_problems import float64_answer, random_inputs, random_map_arguments, relative_error

from fusion_mamba_ros.network.selective_scan import active_backend, backends, selective_scan_2d, use_backend
from fusion_mamba_ros.network.selective_scan.cpu import CpuBackend
from fusion_mamba_ros.network.selective_scan.mamba_ssm import MambaSsmBackend
from fusion_mamba_ros.network.selective_scan.problem import Gradients
from fusion_mamba_ros.network.selective_scan.reference import (
    ReferenceBackend,
    scan_sequences,
    scan_sequences_backward,
)


@pytest.fixture
def fresh_choice() -> Iterator[None]:
    """Choose backends anew in this test and after it."""
    for cached in (backends._choose, backends.unavailable_reason):
        cached.cache_clear()
    yield
    for cached in (backends._choose, backends.unavailable_reason):
        cached.cache_clear()


@pytest.mark.usefixtures("fresh_choice")
def test_without_a_compiled_kernel_the_reference_runs_and_warns_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CpuBackend, "unavailable_reason", lambda self: "not compiled")
    arguments = random_map_arguments()
    with pytest.warns(RuntimeWarning, match=r"slow 'reference' backend in use \(cpu: not compiled\)") as warned:
        first, second = (selective_scan_2d(*arguments) for _ in range(2))
    assert len(warned) == 1
    assert active_backend("cpu").name == "reference"
    torch.testing.assert_close(first, second)


def test_float64_runs_on_the_reference_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert active_backend("cpu", torch.float64).name == "reference"


def test_use_backend_forces_one_and_gives_the_choice_back() -> None:
    with use_backend("reference"):
        assert active_backend("cpu").name == "reference"
        by_reference = selective_scan_2d(*random_map_arguments())
    torch.testing.assert_close(by_reference, selective_scan_2d(*random_map_arguments()))


def test_use_backend_names_the_choices_and_the_reason() -> None:
    with (
        pytest.raises(ValueError, match=r"no selective scan backend 'gpu': choose one of .*reference"),
        use_backend("gpu"),
    ):
        pass
    if not torch.cuda.is_available():
        with (
            pytest.raises(ValueError, match="'mamba_ssm' cannot run here: torch sees no CUDA"),
            use_backend("mamba_ssm"),
        ):
            pass


def test_backward_on_another_backend_than_forward_is_refused() -> None:
    if CpuBackend().unavailable_reason() is not None:
        pytest.skip("the kernel is not compiled")
    others: list[Any]
    u, *others = random_map_arguments()
    y = selective_scan_2d(u.requires_grad_(), *others)
    with use_backend("reference"), pytest.raises(RuntimeError, match="not made by backend 'reference'"):
        y.sum().backward()


def test_reference_backward_agrees_with_autograd() -> None:
    inputs = random_inputs(2, 4, 6, 1, 3, 4, 5, seed=20)
    grad_y = torch.randn(inputs.u.shape, generator=torch.Generator().manual_seed(21))
    expected_y, expected = float64_answer(inputs, grad_y)
    y, states = ReferenceBackend().forward(inputs, keep_states=True)
    assert relative_error(y, expected_y) < 1e-6
    for field, found, wanted in zip(
        Gradients._fields, ReferenceBackend().backward(inputs, grad_y, states), expected, strict=True
    ):
        assert relative_error(found, wanted) < 1e-5, field


@pytest.mark.parametrize("error", [ImportError("undefined symbol: _ZN3c10"), OSError("libcudart"), RuntimeError("ABI")])
def test_broken_mamba_ssm_is_reported_and_skipped(
    monkeypatch: pytest.MonkeyPatch, error: ImportError | OSError | RuntimeError
) -> None:
    class BrokenFinder:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "mamba_ssm":
                raise error

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(sys, "meta_path", [BrokenFinder(), *sys.meta_path])
    reason = MambaSsmBackend().unavailable_reason()
    assert reason is not None
    assert f"installed but broken ({type(error).__name__}: {error})" in reason


def test_absent_mamba_ssm_is_reported_as_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    if "mamba_ssm" in sys.modules or MambaSsmBackend().unavailable_reason() is None:
        pytest.skip("mamba_ssm is installed")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert "not installed" in (MambaSsmBackend().unavailable_reason() or "")


class StandInFunction:
    """mamba_ssm's two halves on the reference: u, delta (B, D, L); A (D, N); B, C (B, G, N, L); D, delta_bias (D,)."""

    @staticmethod
    def forward(
        context: Any,
        u: torch.Tensor,
        delta: torch.Tensor,
        A: torch.Tensor,
        B: torch.Tensor,
        C: torch.Tensor,
        D: torch.Tensor,
        z: torch.Tensor | None,
        delta_bias: torch.Tensor,
        delta_softplus: bool,
    ) -> torch.Tensor:
        assert z is None
        context.save_for_backward(u, delta, A, B, C, D, delta_bias, delta_softplus)
        one = (u[:, None], delta[:, None], A[None], B[:, None], C[:, None], D[None], delta_bias[None])
        return scan_sequences(*one, delta_softplus)[:, 0]

    @staticmethod
    def backward(context: Any, grad_y: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        u, delta, A, B, C, D, delta_bias, delta_softplus = context.saved_tensors
        one = (u[:, None], delta[:, None], A[None], B[:, None], C[:, None], D[None], delta_bias[None])
        g = scan_sequences_backward(grad_y[:, None], *one, delta_softplus)
        return g[0][:, 0], g[1][:, 0], g[2][0], g[3][:, 0], g[4][:, 0], g[5][0], None, g[6][0], None, None, None


def test_mamba_ssm_backend_folds_directions_into_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    interface: Any = types.ModuleType("mamba_ssm.ops.selective_scan_interface")
    interface.SelectiveScanFn = StandInFunction
    monkeypatch.setitem(sys.modules, "mamba_ssm", types.ModuleType("mamba_ssm"))
    monkeypatch.setitem(sys.modules, "mamba_ssm.ops", types.ModuleType("mamba_ssm.ops"))
    monkeypatch.setitem(sys.modules, "mamba_ssm.ops.selective_scan_interface", interface)
    inputs = random_inputs(2, 4, 6, 2, 3, 4, 5, seed=22)
    grad_y = torch.randn(inputs.u.shape, generator=torch.Generator().manual_seed(23))
    expected_y, expected = float64_answer(inputs, grad_y)
    y, states = MambaSsmBackend().forward(inputs, keep_states=True)
    assert relative_error(y, expected_y) < 1e-6
    gradients = MambaSsmBackend().backward(inputs, grad_y, states)
    for field, found, wanted in zip(Gradients._fields, gradients, expected, strict=True):
        assert found is not None and wanted is not None and found.shape == wanted.shape
        assert relative_error(found, wanted) < 1e-5, field
