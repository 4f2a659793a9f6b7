# SPDX-License-Identifier: Apache-2.0
"""Check and time the selective scan's backends and the whole detector on a CUDA device.

    python benchmarks/gpu.py --out gpu.json

Prints three tables:
- the error of each backend against the reference in float64;
- the time of each scan, as a multiple of mamba_ssm's time and of the lower bound ("floor"), which is the number of
  bytes that a scan must move divided by the copy bandwidth measured in the same run;
- the latency of the detector in fp32, bf16 and fp16.
mamba_ssm's time includes the copies that its kernel needs for four directions. Times are medians. The slow reference
is measured once.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from fusion_mamba_ros.network.config import ModelConfig
from fusion_mamba_ros.network.detector import FusionMambaDetector
from fusion_mamba_ros.network.selective_scan import Backend, active_backend, all_backends
from fusion_mamba_ros.network.selective_scan.backends import unavailable_reason
from fusion_mamba_ros.network.selective_scan.problem import Gradients, ScanInputs
from fusion_mamba_ros.network.selective_scan.reference import ReferenceBackend
from fusion_mamba_ros.perception.compute import choose_precision, fold_batch_norms

# (channels, height, width). The shapes of the correctness check are odd on purpose. The timed shapes are P3, P4 and P5
# of 640 x 640 pixels.
CHECKED = ((3, 9, 11), (8, 1, 130), (5, 33, 17))
TIMED = ((128, 80, 80), (512, 80, 80), (1024, 40, 40), (2048, 20, 20))
STREAMS = 2
STATES = 16


def scan_inputs(
    device: str, batch: int, channels: int, height: int, width: int, dtype: torch.dtype = torch.float32
) -> tuple[ScanInputs, Tensor]:
    """Return a scan in four directions as in a fusion block, and a gradient of y; equal on every device."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device, dtype)

    inputs = ScanInputs(
        u=normal(batch, channels, height, width),
        delta=normal(batch, 4, channels, height, width) - 2,
        A=-torch.arange(1, STATES + 1, dtype=dtype, device=device).repeat(4, channels, 1),
        B=normal(batch, 4, 1, STATES, height, width),
        C=normal(batch, 4, 1, STATES, height, width),
        D=normal(4, channels),
        delta_bias=normal(4, channels) - 2,
        delta_softplus=True,
    )
    return inputs, normal(batch, channels, height, width)


def bytes_moved(inputs: ScanInputs, backward: bool) -> int:
    """Return the minimum number of bytes that a scan moves: each input is read once, each result is written once.

    The backward pass reads the inputs and the gradient of y, and writes a gradient for each input.
    """
    of_inputs = sum(t.numel() * t.element_size() for t in inputs.tensors().values() if t is not None)
    of_y = inputs.u.numel() * inputs.u.element_size()
    return 2 * of_inputs + of_y if backward else of_inputs + of_y


def milliseconds(work: Callable[[], object], device: str, repeats: int) -> list[float]:
    """Return the milliseconds of ``repeats`` runs after three warm-up runs; each time includes the device's work."""
    for _ in range(3):
        work()
    if device == "cpu":
        times = []
        for _ in range(repeats):
            begin = time.perf_counter()
            work()
            times.append((time.perf_counter() - begin) * 1e3)
        return times
    marks = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repeats)]
    for begin_mark, end_mark in marks:
        begin_mark.record()
        work()
        end_mark.record()
    torch.cuda.synchronize()
    return [begin_mark.elapsed_time(end_mark) for begin_mark, end_mark in marks]


def copy_bandwidth(device: str, megabytes: int) -> float:
    """Return the bytes per second that a copy reads and writes in total."""
    source = torch.zeros(megabytes * 2**20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() / (median(milliseconds(lambda: target.copy_(source), device, 20)) / 1e3)


def backends_for(device: str) -> list[tuple[Backend, str | None]]:
    """Return the backends of a device, the preferred one first, each with the reason why it cannot run or None."""
    fitting = (backend for backend in all_backends() if backend.device_type in (None, device))
    return [(backend, unavailable_reason(backend)) for backend in fitting]


def correctness(device: str) -> list[dict[str, Any]]:
    """Return for each backend and shape the largest errors of y and of the gradients, and if two runs are equal."""
    rows: list[dict[str, Any]] = []
    for backend, reason in backends_for(device):
        if reason is not None:
            rows.append({"backend": backend.name, "unavailable": reason})
            continue
        for shape in CHECKED:
            exact, grad_y = scan_inputs("cpu", 2, *shape, dtype=torch.float64)
            reference = ReferenceBackend()
            right = (reference.forward(exact, False)[0], *reference.backward(exact, grad_y, grad_y))
            single, grad_y = scan_inputs(device, 2, *shape)

            def run(backend: Backend = backend, inputs: ScanInputs = single, grad_y: Tensor = grad_y) -> list[Tensor]:
                y, states = backend.forward(inputs, keep_states=True)
                return [y, *(t for t in backend.backward(inputs, grad_y, states) if t is not None)]

            found, again = run(), run()
            errors = {
                name: float((got.double().cpu() - exact).abs().max() / exact.abs().max())
                for name, exact, got in zip(("y", *Gradients._fields), right, found, strict=True)
                if exact is not None
            }
            rows.append(
                {
                    "backend": backend.name,
                    "shape": shape,
                    "forward_error": errors.pop("y"),
                    "gradient_error": max(errors.values()),
                    "repeats": all(torch.equal(a, b) for a, b in zip(found, again, strict=True)),
                }
            )
    return rows


def scan_times(
    device: str, shapes: tuple[tuple[int, int, int], ...] = TIMED, repeats: int = 30, copied_megabytes: int = 256
) -> list[dict[str, Any]]:
    """Return the milliseconds of a scan for each backend and shape, with the ratios to mamba_ssm and to the floor."""
    bandwidth = copy_bandwidth(device, copied_megabytes)
    rows = []
    for shape in shapes:
        inputs, grad_y = scan_inputs(device, STREAMS, *shape)
        for backward in (False, True):
            floor_ms = bytes_moved(inputs, backward) / bandwidth * 1e3
            of_shape: list[dict[str, Any]] = []
            for backend, reason in backends_for(device):
                if reason is not None:
                    continue
                count = 1 if backend.slow else repeats
                states = backend.forward(inputs, keep_states=True)[1]

                def work(backend: Backend = backend, states: Tensor = states) -> object:
                    if backward:  # noqa: B023 - called before the next iteration
                        return backend.backward(inputs, grad_y, states)  # noqa: B023
                    return backend.forward(inputs, keep_states=False)  # noqa: B023

                ms = median(milliseconds(work, device, count))
                row = {"backend": backend.name, "shape": shape, "pass": "backward" if backward else "forward"}
                of_shape.append({**row, "ms": ms, "times_floor": ms / floor_ms, "floor_ms": floor_ms})
            peer = next((row["ms"] for row in of_shape if row["backend"] == "mamba_ssm"), None)
            rows += [{**row, "times_mamba_ssm": None if peer is None else row["ms"] / peer} for row in of_shape]
    return rows


def detector_latency(device: str, config: ModelConfig, size_px: int, repeats: int) -> list[dict[str, Any]]:
    """Return the network's latency for one pair in each precision: median and 95th percentile in milliseconds."""
    torch.manual_seed(0)
    model = FusionMambaDetector(config).to(device)
    fold_batch_norms(model)
    images = {
        name: torch.rand(1, channels, size_px, size_px, device=device) for name, channels in config.modalities.items()
    }
    rows: list[dict[str, Any]] = []
    for precision in ("fp32", "bf16", "fp16"):
        try:
            dtype = choose_precision(precision, torch.device(device))
        except ValueError as error:
            rows.append({"precision": precision, "unavailable": str(error)})
            continue
        with torch.inference_mode(), torch.autocast(torch.device(device).type, dtype=dtype, enabled=dtype is not None):
            times = sorted(milliseconds(lambda: model(images), device, repeats))
        rows.append({"precision": precision, "ms": median(times), "p95_ms": times[int(0.95 * (len(times) - 1))]})
    return rows


def print_rows(console: Console, title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows as a table, and below it one sentence for each row that could not run."""
    measured = [row for row in rows if "unavailable" not in row]
    if measured:
        table = Table(*measured[0], title=title, title_justify="left")
        for row in measured:
            table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()))
        console.print(table)
    for row in rows:
        if "unavailable" in row:
            console.print(f"{next(iter(row.values()))}: {row['unavailable']}")


class _DeprecatedWidth(argparse.Action):
    """Accept the old name of ``--scale`` with a ``DeprecationWarning``."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Store the value as the scale."""
        warnings.warn("--width is deprecated: use --scale", DeprecationWarning, stacklevel=1)
        setattr(namespace, self.dest, values)


def main() -> None:
    """Run all measurements on the current CUDA device, print the tables and write the JSON document."""
    parser = argparse.ArgumentParser(description="Correctness and speed on a CUDA device.")
    parser.add_argument("--scale", default="n", help="scale of the detector: n, s, m, l, x or paper")
    parser.add_argument("--width", dest="scale", action=_DeprecatedWidth, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, default=640, help="width and height of the input, a multiple of 32 pixels")
    parser.add_argument("--repeats", type=int, default=50, help="measured runs of each time")
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit(f"benchmarks/gpu.py needs a CUDA device, but torch {torch.__version__} finds none on this machine.")
    console = Console()
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name(),
        "capability": torch.cuda.get_device_capability(),
        "torch": torch.__version__,
        "backend": active_backend("cuda").name,
    }
    console.print(", ".join(f"{name} {value}" for name, value in found.items()))
    parts: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "error against float64": lambda: correctness("cuda"),
        "scan": lambda: scan_times("cuda", repeats=arguments.repeats),
        "detector": lambda: detector_latency(
            "cuda", ModelConfig(scale=arguments.scale), arguments.size, arguments.repeats
        ),
    }
    for title, part in parts.items():
        with console.status(title):
            found[title] = part()
        print_rows(console, title, found[title])
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
