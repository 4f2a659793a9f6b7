# SPDX-License-Identifier: Apache-2.0
"""The C kernel against float64, on every instruction set that this CPU has."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from scan_problems import float64_answer, random_inputs, relative_error

from fusion_mamba_ros.network.selective_scan import build, cpu
from fusion_mamba_ros.network.selective_scan.cpu import CpuBackend, instruction_set
from fusion_mamba_ros.network.selective_scan.problem import Gradients, ScanInputs

pytestmark = pytest.mark.skipif(
    CpuBackend().unavailable_reason() is not None and shutil.which("cc") is None, reason="no C compiler"
)

FORWARD_ERROR = 2e-5
GRADIENT_ERROR = 1e-4


def instruction_sets() -> list[str]:
    if CpuBackend().unavailable_reason() is not None:
        return ["baseline"]
    return [name for name in ("baseline", "avx2", "avx512") if instruction_set(name)]


SHAPES = {
    "one pixel": (1, 4, 1, 1, 1, 1, 1),
    "one row": (2, 4, 17, 1, 4, 1, 65),
    "one column": (1, 4, 16, 1, 16, 67, 1),
    "odd everything": (2, 4, 33, 1, 5, 9, 21),
    "small map, several chunks": (1, 4, 20, 1, 6, 20, 37),
    "large map, several panels": (1, 4, 17, 1, 3, 46, 47),
    "many states": (1, 4, 16, 1, 35, 8, 8),
    "sequence with groups": (2, 1, 36, 3, 8, 1, 700),
    "several parts of channels": (1, 4, 300, 1, 4, 6, 5),
}


def run(backend: CpuBackend, inputs: ScanInputs, grad_y: torch.Tensor) -> tuple[torch.Tensor, Gradients]:
    y, states = backend.forward(inputs, keep_states=True)
    return y, backend.backward(inputs, grad_y, states)


@pytest.mark.parametrize("name", instruction_sets())
@pytest.mark.parametrize("shape", SHAPES)
def test_kernel_agrees_with_float64(name: str, shape: str) -> None:
    inputs = random_inputs(*SHAPES[shape], seed=5)
    grad_y = torch.randn(inputs.u.shape, generator=torch.Generator().manual_seed(6))
    y, gradients = run(CpuBackend(name), inputs, grad_y)
    expected_y, expected = float64_answer(inputs, grad_y)
    assert relative_error(y, expected_y) < FORWARD_ERROR
    for field, found, wanted in zip(Gradients._fields, gradients, expected, strict=True):
        assert relative_error(found, wanted) < GRADIENT_ERROR, field


@pytest.mark.parametrize("name", instruction_sets())
def test_kernel_agrees_with_float64_on_random_shapes(name: str) -> None:
    seed = random.SystemRandom().randrange(2**31)
    choose = random.Random(seed)
    directions = choose.choice([1, 4])
    groups = choose.randint(1, 3)
    height, width = (1, choose.randint(1, 300)) if directions == 1 else (choose.randint(1, 20), choose.randint(1, 40))
    shape = (choose.randint(1, 2), directions, groups * choose.randint(1, 20), groups, choose.randint(1, 20))
    print(f"shape {(*shape, height, width)}")
    inputs = random_inputs(*shape, height, width, seed=seed)
    inputs = inputs._replace(
        D=choose.choice([None, inputs.D]),
        delta_bias=choose.choice([None, inputs.delta_bias]),
        delta_softplus=choose.choice([True, False]),
    )
    if not inputs.delta_softplus:
        inputs = inputs._replace(
            delta=inputs.delta.abs(), delta_bias=None if inputs.delta_bias is None else inputs.delta_bias.abs()
        )
    grad_y = torch.randn(inputs.u.shape, generator=torch.Generator().manual_seed(seed))
    y, gradients = run(CpuBackend(name), inputs, grad_y)
    expected_y, expected = float64_answer(inputs, grad_y)
    assert relative_error(y, expected_y) < FORWARD_ERROR
    for field, found, wanted in zip(Gradients._fields, gradients, expected, strict=True):
        assert (found is None) == (wanted is None), field
        if found is not None and wanted is not None:
            assert relative_error(found, wanted) < GRADIENT_ERROR, field


@pytest.mark.parametrize("name", instruction_sets())
def test_small_step_sizes_keep_their_precision(name: str) -> None:
    inputs = random_inputs(1, 4, 16, 1, 8, 20, 20, seed=8)
    assert inputs.delta_bias is not None
    inputs = inputs._replace(delta_bias=inputs.delta_bias - 8)
    grad_y = torch.randn(inputs.u.shape, generator=torch.Generator().manual_seed(9))
    y, gradients = run(CpuBackend(name), inputs, grad_y)
    expected_y, expected = float64_answer(inputs, grad_y)
    assert relative_error(y, expected_y) < FORWARD_ERROR
    for field, found, wanted in zip(Gradients._fields, gradients, expected, strict=True):
        assert relative_error(found, wanted) < GRADIENT_ERROR, field


@pytest.mark.parametrize("name", instruction_sets())
def test_large_steps_and_fast_decay_stay_finite_and_right(name: str) -> None:
    inputs = random_inputs(1, 4, 16, 1, 4, 6, 9, seed=10)
    inputs = inputs._replace(
        delta=50 * torch.rand(inputs.delta.shape, generator=torch.Generator().manual_seed(11)),
        delta_bias=torch.zeros(4, 16),
        A=-(10.0 ** (4 * torch.rand(inputs.A.shape, generator=torch.Generator().manual_seed(12)))),
    )
    inputs.A[0, 0, 0] = -1e4
    inputs.delta[0, 0, 0, 0, 0] = 50
    grad_y = torch.randn(inputs.u.shape, generator=torch.Generator().manual_seed(13))
    y, gradients = run(CpuBackend(name), inputs, grad_y)
    expected_y, expected = float64_answer(inputs, grad_y)
    assert relative_error(y, expected_y) < FORWARD_ERROR
    for field, found, wanted in zip(Gradients._fields, gradients, expected, strict=True):
        assert found is not None and found.isfinite().all(), field
        assert relative_error(found, wanted) < GRADIENT_ERROR, field


@pytest.mark.parametrize("groups", [1, 2])
def test_result_is_the_same_bit_for_bit_for_any_number_of_threads(groups: int) -> None:
    inputs = random_inputs(2, 4, 272, groups, 16, 30, 33, seed=14)
    grad_y = torch.randn(inputs.u.shape, generator=torch.Generator().manual_seed(15))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(run(CpuBackend(), inputs, grad_y))
    finally:
        torch.set_num_threads(before)
    for y, gradients in results[1:]:
        assert torch.equal(y, results[0][0])
        for field, found, first in zip(Gradients._fields, gradients, results[0][1], strict=True):
            assert found is not None and first is not None and torch.equal(found, first), field


def test_threads_of_its_own_give_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = random_inputs(2, 4, 64, 1, 16, 30, 33, seed=16)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with_openmp, _ = CpuBackend().forward(inputs, keep_states=False)
        monkeypatch.setattr(cpu, "parallel_function", lambda: None)
        alone, _ = CpuBackend().forward(inputs, keep_states=False)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(with_openmp, alone)


# Runs in a separate process, because other threads of the test runner would be in an unknown state in the child.
_FORK_AFTER_A_SCAN = """
import os, signal, torch
from scan_problems import random_inputs
from fusion_mamba_ros.network.selective_scan.cpu import CpuBackend

inputs = random_inputs(2, 4, 64, 1, 16, 30, 33, seed=17)
torch.set_num_threads(2)
expected = CpuBackend().forward(inputs, keep_states=False)[0].numpy().tobytes()
child = os.fork()
if child == 0:
    # Use none of torch's own operators: they would wait forever for the threads that the fork did not copy.
    signal.alarm(60)
    found = CpuBackend().forward(inputs, keep_states=False)[0].numpy().tobytes()
    os._exit(0 if found == expected else 1)
_, status = os.waitpid(child, 0)
raise SystemExit(abs(os.waitstatus_to_exitcode(status)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_forked_child_can_scan_after_its_parent_did() -> None:
    path = os.pathsep.join((str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")))
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _FORK_AFTER_A_SCAN]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_inference_writes_no_states() -> None:
    inputs = random_inputs(1, 4, 16, 1, 4, 8, 8, seed=18)
    _, states = CpuBackend().forward(inputs, keep_states=False)
    assert states.numel() == 0


def test_states_and_parts_stay_below_twice_the_size_of_u() -> None:
    for channels, size in ((128, 80), (256, 80), (512, 80), (1024, 40), (2048, 20)):
        with torch.device("meta"):
            u, delta = torch.empty(1, channels, size, size), torch.empty(1, 4, channels, size, size)
            A, B = torch.empty(4, channels, 16), torch.empty(1, 4, 1, 16, size, size)
        inputs = ScanInputs(u, delta, A, B, B, None, None, True)
        states = torch.Size(CpuBackend().states_shape(inputs)).numel()
        parts = 2 * (CpuBackend._parts(inputs) - 1) * B.numel()
        assert states + parts < 2 * u.numel(), (channels, size)


def test_failed_compilation_leaves_the_old_library_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / build.LIBRARY_NAME
    target.write_bytes(b"old")
    monkeypatch.setenv("CC", "false")
    with pytest.raises(build.BuildError, match="'false' could not compile the scan kernel"):
        build.build(target)
    assert target.read_bytes() == b"old"
    monkeypatch.setenv("CC", str(tmp_path / "nonexistent"))
    with pytest.raises(build.BuildError, match="does not start"):
        build.build(target)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "was not compiled: run `python -m"),
        (b"no library", "does not load"),
        # No kernel source is installed.
        pytest.param("stale", "compiled from other sources", marks=pytest.mark.checkout),
    ],
)
def test_missing_broken_and_stale_libraries_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | str | None, reason: str
) -> None:
    library = tmp_path / build.LIBRARY_NAME
    if content == "stale":
        build.build(library, extra_flags=("-O0", "-DSCAN_CHUNK_STEPS=64"))
    elif isinstance(content, bytes):
        library.write_bytes(content)
    monkeypatch.setattr(cpu, "LIBRARY", library)
    cpu._library.cache_clear()
    try:
        assert reason in (CpuBackend().unavailable_reason() or "")
    finally:
        cpu._library.cache_clear()


@pytest.mark.skipif(shutil.which("bash") is None or shutil.which("cc") is None, reason="needs bash and a C compiler")
def test_kernel_is_clean_under_address_and_undefined_behaviour_sanitizers() -> None:
    script = Path(__file__).parent.parent / "tools" / "sanitize_scan.sh"
    done = subprocess.run([str(script), "8", "address,undefined"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "baseline: 8 shapes without an error" in done.stdout
