# SPDX-License-Identifier: Apache-2.0
"""The Triton kernels, interpreted and compiled, against the reference."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from ptx_machine import PtxMachine
from torch import Tensor

from fusion_mamba_ros.network.selective_scan import all_backends, backends, triton_backend
from fusion_mamba_ros.network.selective_scan.problem import Gradients, ScanInputs
from fusion_mamba_ros.network.selective_scan.reference import ReferenceBackend
from fusion_mamba_ros.network.selective_scan.triton_backend import Tiling, TritonBackend

ROOT = Path(__file__).parent.parent
SEED = 5

sys.path.insert(0, str(ROOT / "benchmarks"))
triton_resources = pytest.importorskip("triton_resources", reason="triton has wheels for Linux on x86_64 only")


def run_python(*arguments: str, path: Path = ROOT) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def interpreted() -> dict[str, Any]:
    print(f"seed {SEED}")
    answer: dict[str, Any] = json.loads(run_python(str(ROOT / "test" / "scan_in_interpreter.py"), str(SEED)))
    return answer


@pytest.mark.parametrize(
    "case",
    [
        "odd sizes",
        "many chunks",
        "a batch",
        "one pixel",
        "one state, one column",
        "sequences in groups",
        "two channels at a time",
    ],
)
def test_interpreted_kernels_match_the_reference_forth_and_back(interpreted: dict[str, Any], case: str) -> None:
    errors = interpreted[case]
    assert {"y", "u", "delta", "A", "B", "C"} <= set(errors)
    assert errors.pop("y") < 2e-5
    # One by one: the maximum of a list with a NaN may be any of it.
    assert all(error < 1e-4 for error in errors.values()), errors


def test_extreme_steps_and_rates_stay_finite(interpreted: dict[str, Any]) -> None:
    assert interpreted["extreme is finite"]


def test_results_repeat_bit_by_bit(interpreted: dict[str, Any]) -> None:
    assert interpreted["bits repeat"]


class _EmulatedKernels:
    """Compiles each launch for one GPU and runs the machine's instructions on the CPU."""

    def __init__(self, capability: int) -> None:
        self._capability = capability
        self.launched: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return _EmulatedKernel(self, name.removesuffix("_kernel"), self._capability)


class _EmulatedKernel:
    def __init__(self, owner: _EmulatedKernels, name: str, capability: int) -> None:
        self._owner, self._name, self._capability = owner, name, capability

    def __getitem__(self, grid: tuple[int]) -> Any:
        def launch(*values: Any, num_warps: int, enable_fp_fusion: bool, **constants: Any) -> None:
            tiling = Tiling(constants["STEPS"], constants["STATES"], 1, num_warps)
            compiled = triton_resources.compile_kernel(self._name, self._capability, constants, tiling)
            machine = PtxMachine(compiled.asm["ptx"], compiled.metadata.shared)
            machine.run(grid[0], [value.numpy() if isinstance(value, Tensor) else value for value in values])
            self._owner.launched.append(self._name)

        return launch


def small_problem(height: int, width: int) -> tuple[ScanInputs, Tensor]:
    inputs, grad_y = triton_backend._small_problem()
    cut: dict[str, Any] = {
        name: tensor[:1, ..., :height, :width] if name in ("u", "delta", "B", "C") else tensor
        for name, tensor in inputs.tensors().items()
        if tensor is not None
    }
    return inputs._replace(**cut), grad_y[:1, :, :height, :width]


def test_compiled_instructions_match_the_reference_forth_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = _EmulatedKernels(87)
    monkeypatch.setattr(triton_backend, "_kernels", lambda: kernels)
    inputs, grad_y = small_problem(height=6, width=11)
    expected = (ReferenceBackend().forward(inputs, False)[0], *ReferenceBackend().backward(inputs, grad_y, grad_y))
    floats: dict[str, Any] = {name: t.float() for name, t in inputs.tensors().items() if t is not None}
    single = inputs._replace(**floats)
    backend = TritonBackend()
    assert backend.states_shape(single)[2] == 2, "the map must fill a chunk and begin another"
    y, states = backend.forward(single, keep_states=True)
    found = (y, *backend.backward(single, grad_y.float(), states))
    assert kernels.launched == ["forward", "carry", "backward"]
    for name, right, got in zip(("y", *Gradients._fields), expected, found, strict=True):
        assert right is not None and got is not None
        assert (got - right).abs().max() < 1e-5 * right.abs().max(), name


def test_kernels_compile_for_a_gpu_that_is_not_here() -> None:
    (name, tiling, constants), *_ = triton_resources.variants(16)
    row = triton_resources.measure(name, 87, constants, tiling)
    assert row.problem == ""
    assert 16 < row.registers <= 255
    assert row.spilled_bytes == 0
    assert row.shared_bytes > 0


def test_variants_of_the_table_are_what_the_backend_launches() -> None:
    inputs, _ = triton_backend._small_problem()
    launched = Tiling.of(inputs)
    assert launched in [tiling for name, tiling, _ in triton_resources.variants(16) if name == "forward"]


def test_target_that_triton_does_not_know_says_so_in_its_row() -> None:
    *_, (name, tiling, constants) = triton_resources.variants(16)
    row = triton_resources.measure(name, 30, constants, tiling)
    assert row.problem
    assert row.registers == 0


def test_cuda_runs_on_triton_where_mamba_ssm_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "unavailable_reason", lambda b: "not installed" if b.name == "mamba_ssm" else None)
    assert backends._choose.__wrapped__("cuda", torch.float32).name == "triton"
    monkeypatch.setattr(backends, "unavailable_reason", lambda backend: None)
    assert backends._choose.__wrapped__("cuda", torch.float32).name == "mamba_ssm"
    assert backends._choose.__wrapped__("cpu", torch.float32).name == "cpu"


def test_missing_triton_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "fusion_mamba_ros.network.selective_scan.triton_backend.importlib.util.find_spec", lambda name: None
    )
    reason = TritonBackend().unavailable_reason()
    assert reason is not None and "not installed" in reason


def test_broken_triton_is_named_by_info_and_everything_else_works(tmp_path: Path) -> None:
    (tmp_path / "triton").mkdir()
    (tmp_path / "triton" / "__init__.py").write_text("raise OSError('libtriton.so: undefined symbol')\n")
    told = json.loads(run_python("-m", "fusion_mamba_ros.cli", "info", "--json", path=tmp_path))
    note = {row["backend"]: row["note"] for row in told["selective_scan"]}["triton"]
    assert re.search("installed but broken.*undefined symbol", note), note
    assert any(row["active_on"] for row in told["selective_scan"])


class _ReversedInTheWrongOrder(TritonBackend):
    def forward(self, inputs: ScanInputs, keep_states: bool) -> tuple[Tensor, Tensor]:
        return ReferenceBackend().forward(inputs, keep_states)

    def backward(self, inputs: ScanInputs, grad_y: Tensor, states: Tensor) -> Gradients:
        right = ReferenceBackend().backward(inputs, grad_y, states)
        return right._replace(B=right.B.flip(-1))


class _Right(_ReversedInTheWrongOrder):
    def backward(self, inputs: ScanInputs, grad_y: Tensor, states: Tensor) -> Gradients:
        return ReferenceBackend().backward(inputs, grad_y, states)


def test_device_that_computes_wrong_numbers_is_refused() -> None:
    device = torch.device("cpu")
    assert _Right()._disagreement(device) is None
    reason = _ReversedInTheWrongOrder()._disagreement(device)
    assert reason is not None and "wrong numbers here (B off by" in reason


def test_kernels_that_do_not_launch_are_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_compiler() -> Any:
        raise RuntimeError("Failed to find C compiler.\nPlease specify via CC.")

    monkeypatch.setattr(triton_backend, "_kernels", no_compiler)
    reason = TritonBackend()._disagreement(torch.device("cpu"))
    assert reason == "its kernels do not compile or launch here (RuntimeError: Failed to find C compiler.)"


def test_triton_is_preferred_to_everything_but_mamba_ssm() -> None:
    assert [backend.name for backend in all_backends()] == ["mamba_ssm", "triton", "cpu", "reference"]
