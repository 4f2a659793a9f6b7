# SPDX-License-Identifier: Apache-2.0
"""The GPU benchmark on a machine without a GPU, and its tables."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console

from fusion_mamba_ros.network.config import ModelConfig

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import gpu


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_ends_with_one_sentence() -> None:
    done = subprocess.run([sys.executable, gpu.__file__], capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and "needs a CUDA device" in done.stderr


def test_the_old_option_for_the_scale_still_works_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--width", "s"])
    with pytest.warns(DeprecationWarning, match="use --scale"), pytest.raises(SystemExit, match="needs a CUDA device"):
        gpu.main()


def test_floor_counts_every_input_and_result_once() -> None:
    inputs, _ = gpu.scan_inputs("cpu", 2, 3, 4, 5)
    of_map, of_deltas, of_matrices = 2 * 3 * 20, 2 * 4 * 3 * 20, 2 * (2 * 4 * 16 * 20)
    of_parameters = 4 * 3 * 16 + 2 * (4 * 3)
    read = of_map + of_deltas + of_matrices + of_parameters
    assert gpu.bytes_moved(inputs, backward=False) == 4 * (read + of_map)
    assert gpu.bytes_moved(inputs, backward=True) == 4 * (2 * read + of_map)


def test_correctness_names_every_backend_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "CHECKED", ((3, 4, 5),))
    rows = gpu.correctness("cpu")
    assert {row["backend"] for row in rows} == {"cpu", "reference"}
    for row in rows:
        if "unavailable" not in row:
            assert row["forward_error"] < 2e-5
            assert row["gradient_error"] < 1e-4
            assert row["repeats"]
    on_cuda = gpu.backends_for("cuda")
    assert [backend.name for backend, _ in on_cuda] == ["mamba_ssm", "triton", "reference"]


def test_times_stand_beside_the_floor_and_beside_mamba_ssm_where_it_runs() -> None:
    rows = gpu.scan_times("cpu", shapes=((4, 5, 6),), repeats=2, copied_megabytes=1)
    assert {row["pass"] for row in rows} == {"forward", "backward"}
    for row in rows:
        assert row["times_floor"] == pytest.approx(row["ms"] / row["floor_ms"])
        assert row["times_mamba_ssm"] is None


def test_detector_is_run_in_every_precision_that_the_device_has() -> None:
    rows = gpu.detector_latency("cpu", ModelConfig(fusion="add", classes=1), size_px=32, repeats=2)
    assert [row["precision"] for row in rows] == ["fp32", "bf16", "fp16"]
    assert all(row["p95_ms"] > 0 for row in rows[:2])
    assert "needs a CUDA device" in rows[2]["unavailable"]


def test_what_could_not_run_is_printed_as_a_sentence() -> None:
    console = Console(width=100, record=True)
    gpu.print_rows(console, "t", [{"backend": "a", "ms": 1.5}, {"backend": "b", "unavailable": "not installed"}])
    text = console.export_text()
    assert "1.5" in text and "b: not installed" in text
