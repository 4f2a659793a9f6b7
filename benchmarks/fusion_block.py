# SPDX-License-Identifier: Apache-2.0
"""Time a dual state space fusion and a whole Fusion-Mamba block on the CPU with three scans in one run.

    python benchmarks/fusion_block.py --out fusion_block.json
    python benchmarks/fusion_block.py --quick

  kernel  the scan of this package with the backend that `fusion-mamba info` names for the CPU
  loop    mamba_ssm's documented reference algorithm in torch: exp(delta A) and delta u B at once, then step by step
  pscan   the parallel scan of mambapy
The peers (loop and pscan) process each direction as a separate sequence, and both streams of a fusion as one batch.
Repetitions are interleaved. The table shows medians with minimum and maximum; the JSON document contains all times.
Memory is the growth of the process during one call, without inputs and parameters. The outputs of all scans are
compared before the timing.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scan import measure
from torch import Tensor, nn

from fusion_mamba_ros.analysis.memory_growth import extra_memory
from fusion_mamba_ros.network import DualStateSpaceFusion, FusionMambaBlock
from fusion_mamba_ros.network.selective_scan import active_backend, use_backend
from fusion_mamba_ros.network.selective_scan.problem import Gradients, ScanInputs
from fusion_mamba_ros.network.selective_scan.reference import from_sequences, to_sequences

# (channels, height, width) of P3, P4 and P5 at scale n and 640 x 640 pixels. QUICK is P3 at 320 x 256 pixels.
SHAPES = ((64, 80, 80), (128, 40, 40), (256, 20, 20))
QUICK = ((64, 32, 40),)
LARGEST_DIFFERENCE = 1e-3


def loop(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Return y of sequences (batch, K, D, L); A (K, D, N); B, C (batch, K, N, L)."""
    decays = torch.exp(torch.einsum("bkdl,kdn->bkdln", delta, A))
    inputs = torch.einsum("bkdl,bknl,bkdl->bkdln", delta, B, u)
    state = torch.zeros_like(inputs[..., 0, :])
    outputs = []
    for t in range(u.shape[-1]):
        state = decays[..., t, :] * state + inputs[..., t, :]
        outputs.append(torch.einsum("bkdn,bkn->bkd", state, C[..., t]))
    return torch.stack(outputs, dim=-1)


def parallel_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Return the result of `loop`, computed by mambapy's ``pscan``, whose tensors are (batch, L, D, N)."""
    from mambapy.pscan import pscan

    decays = torch.exp(torch.einsum("bkdl,kdn->bkldn", delta, A))
    inputs = torch.einsum("bkdl,bknl->bkldn", delta * u, B)
    states = pscan(decays.flatten(0, 1), inputs.flatten(0, 1)).view_as(decays)
    return torch.einsum("bkldn,bknl->bkdl", states, C)


class Peer:
    """Use a scan of sequences as a backend, so that the modules of this package run on it; forward only."""

    device_type = "cpu"
    dtypes = (torch.float32,)
    slow = False

    def __init__(self, name: str, scan: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]) -> None:
        self.name, self._scan = name, scan

    def unavailable_reason(self) -> str | None:
        """Return None: the peer needs only torch; `parallel_scan` imports mambapy itself."""
        return None

    def states_shape(self, inputs: ScanInputs) -> tuple[int, ...]:
        """Return the shape of an empty tensor: no states are kept."""
        return (0,)

    def forward(self, inputs: ScanInputs, keep_states: bool) -> tuple[Tensor, Tensor]:
        """Return y and an empty tensor in place of the states."""
        height, width = inputs.u.shape[-2:]
        delta = inputs.delta if inputs.delta_bias is None else inputs.delta + inputs.delta_bias[:, :, None, None]
        delta = to_sequences(F.softplus(delta) if inputs.delta_softplus else delta)
        u = to_sequences(inputs.u.unsqueeze(1).expand_as(inputs.delta))
        y = self._scan(u, delta, inputs.A, to_sequences(inputs.B[:, :, 0]), to_sequences(inputs.C[:, :, 0]))
        if inputs.D is not None:
            y = y + inputs.D[:, :, None] * u
        return from_sequences(y, height, width).sum(dim=1), inputs.u.new_empty(0)

    def backward(self, inputs: ScanInputs, grad_y: Tensor, states: Tensor) -> Gradients:
        """Raise ``NotImplementedError``: the peers are timed without gradients."""
        raise NotImplementedError(f"{self.name} has no backward pass here")


def blocks(channels: int, dssf_count: int) -> dict[str, nn.Module]:
    """Return the modules to time, by name."""
    torch.manual_seed(0)
    return {
        "DSSF": DualStateSpaceFusion(channels).eval(),
        f"FMB, {dssf_count} DSSF": FusionMambaBlock(channels, dssf_count).eval(),
    }


def largest_difference(outputs: dict[str, tuple[Tensor, ...]]) -> float:
    """Return the largest difference between a peer's maps and the kernel's, relative to the kernel's largest value."""
    right = torch.stack(outputs["kernel"])
    return max(float((torch.stack(maps) - right).abs().max() / right.abs().max()) for maps in outputs.values())


def measure_block(
    module: nn.Module, shape: tuple[int, int, int], threads: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Return all results of one module at one shape with ``threads`` threads."""
    torch.set_num_threads(threads)
    maps = torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(1))
    backends: dict[str, Any] = {"kernel": active_backend("cpu")}
    if not options.kernel_only:
        backends |= {peer.name: peer for peer in (Peer("loop", loop), Peer("pscan", parallel_scan))}

    def on(backend: Any) -> tuple[Tensor, ...]:
        with use_backend(backend):
            found: tuple[Tensor, ...] = module(*maps)
            return found

    with torch.no_grad():
        difference = largest_difference({name: on(backend) for name, backend in backends.items()})
        if difference > LARGEST_DIFFERENCE:
            raise SystemExit(
                f"the scans differ by {difference:.1e} of the largest value, more than {LARGEST_DIFFERENCE:.0e}: "
                "the comparison would be wrong"
            )
        runs: dict[str, Callable[[], Any]] = {name: partial(on, backend) for name, backend in backends.items()}
        return {
            "shape": shape,
            "threads": threads,
            "difference": difference,
            "seconds": measure(runs, options.repeats, options.slow_repeats),
            "extra_bytes": {name: extra_memory(partial(_stacked, run)) for name, run in runs.items()},
        }


def _stacked(run: Callable[[], tuple[Tensor, ...]]) -> Tensor:
    return torch.stack(run())


def print_table(results: list[dict[str, Any]], console: Console) -> None:
    """Print medians, ratios and memory as a table."""
    table = Table(title="two streams, batch 1, N = 16, float32, CPU", title_justify="left")
    for name in ("block", "C, H x W", "threads", "kernel", "loop", "pscan", "memory: kernel", "loop", "pscan"):
        table.add_column(name, justify="right")

    def megabytes(row: dict[str, Any], name: str) -> str:
        found = row["extra_bytes"].get(name)
        return "-" if found is None else f"{found / 1e6:.0f} MB"

    for row in results:
        seconds, kernel = row["seconds"], row["seconds"]["kernel"]
        channels, height, width = row["shape"]
        ratios = [
            f"{seconds[name]['median'] / kernel['median']:.0f}x" if name in seconds else "-"
            for name in ("loop", "pscan")
        ]
        table.add_row(
            row["block"],
            f"{channels}, {height} x {width}",
            str(row["threads"]),
            f"{1e3 * kernel['median']:.1f} ms ({1e3 * kernel['least']:.1f}..{1e3 * kernel['most']:.1f})",
            *ratios,
            *(megabytes(row, name) for name in ("kernel", "loop", "pscan")),
        )
    console.print(table)


def main() -> None:
    """Measure every block and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write all times as JSON")
    parser.add_argument("--quick", action="store_true", help=f"only {QUICK}, one DSSF in the block, three repetitions")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--shapes", type=int, nargs="+", default=list(range(len(SHAPES))), help=f"indices of {SHAPES}")
    parser.add_argument("--dssf-count", type=int, default=8, help="DSSF modules in the whole block")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--slow-repeats", type=int, default=2, help="repetitions of scans that take over half a second")
    parser.add_argument("--kernel-only", action="store_true", help="do not time the peers")
    options = parser.parse_args()
    shapes = [SHAPES[index] for index in options.shapes]
    if options.quick:
        shapes, options.dssf_count, options.repeats, options.slow_repeats = list(QUICK), 1, 3, 1
    cases = [
        (name, module, shape, threads)
        for shape in shapes
        for name, module in blocks(shape[0], options.dssf_count).items()
        for threads in options.threads
    ]
    console, results = Console(width=160), []
    for name, module, shape, threads in track(cases, description="measuring", console=Console(stderr=True)):
        load = os.getloadavg()[0]
        results.append({"block": name, "load_average": load, **measure_block(module, shape, threads, options)})
        # Write after each case, so that an interrupted run keeps its results.
        if options.out:
            document = {"torch": torch.__version__, "backend": active_backend("cpu").name, "results": results}
            options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print_table(results, console)
    loads = ", ".join(f"{row['load_average']:.1f}" for row in results)
    console.print(f"scan backend '{active_backend('cpu').name}', torch {torch.__version__}; load averages {loads}")


if __name__ == "__main__":
    main()
