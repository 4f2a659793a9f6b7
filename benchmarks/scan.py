# SPDX-License-Identifier: Apache-2.0
"""Compare the time of the CPU scan kernel with its peers and with the time of its exponentials, in one run.

    python benchmarks/scan.py --out scan.json

The peers scan sequences (channels, L) that are already in scan order. So their times do not include the four
permutations and the sum over the directions.
  loop        mamba_ssm's documented reference algorithm: exp(delta A) and delta u B at once, then one step at a time
  time-major  the same algorithm with the steps outermost in memory, so that each step reads contiguous memory
  pscan       the parallel scan of mambapy
  exp bound   only the kernel's vectorised exp on as many (channel, step, state) elements
  FMA bound   only the operations of the free form on the multiply-add units: 9 for each channel, step and state of a
              vector (delta A, 5 of the polynomial of exp, delta u B, the new state, the output). The time is
              9 channels L N / lanes divided by the measured rate of independent multiply-adds.
  power, scalar  the kernel with one decay rate for each channel
The kernel scans channels / 4 maps of L pixels in four directions. Repetitions are interleaved. The table shows
medians; the JSON document contains all times. Memory is the growth of a separate process without inputs and output.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scan_bounds import ScanBounds
from scan_peers import STATE_SIZE, loop, make_map, make_sequences, parallel_scan, time_major, with_backward
from torch import Tensor

from fusion_mamba_ros.analysis.memory_growth import extra_memory
from fusion_mamba_ros.network.selective_scan import cpu, selective_scan_2d

SHAPES = ((512, 6400), (2048, 6400), (4096, 1600), (8192, 400))
# Calls up to this many seconds are timed at their second run.
SHORT_SEC = 0.1
# Limit in bytes for an (L, channels, N) tensor: pscan, which keeps several, is left out above half of it.
MOST_PEER_BYTES = 1.2e9


def time_once(run: Callable[[], Any]) -> float:
    """Return the seconds of one call. A short call runs twice, and the second run counts.

    The peers evict the data of the kernel from the caches. Without the second run, a kernel of a few milliseconds would
    be timed while it reloads its data.
    """
    start = time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    if seconds > SHORT_SEC:
        return seconds
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(
    runs: dict[str, Callable[[], Any]], repeats: int, slow_repeats: int
) -> dict[str, dict[str, float | list[float]]]:
    """Return the times of each run; the repetitions of all runs are interleaved.

    A run of more than half a second is repeated ``slow_repeats`` times, a run of more than a minute is not repeated.
    """
    times: dict[str, list[float]] = {name: [time_once(run)] for name, run in runs.items()}
    wanted = {name: repeats if t[0] < 0.5 else slow_repeats if t[0] < 60 else 1 for name, t in times.items()}
    for name, count in wanted.items():
        if count == repeats:
            times[name] = []
    for _ in range(repeats):
        for name, run in runs.items():
            if len(times[name]) < wanted[name]:
                times[name].append(time_once(run))
    return {
        name: {"median": statistics.median(t), "least": min(t), "most": max(t), "all": t} for name, t in times.items()
    }


def measure_shape(
    channels: int, length: int, threads: int, bounds: ScanBounds, options: argparse.Namespace
) -> dict[str, Any]:
    """Return all results of one shape with ``threads`` threads."""
    torch.set_num_threads(threads)
    # Warm up: the first calls of a process include one-time work.
    with_backward(selective_scan_2d)(*make_map(16, 64))
    bounds.exponentials(STATE_SIZE)
    bounds.multiply_adds(STATE_SIZE)
    arguments: tuple[Any, ...] = make_map(channels, length)
    kernel_bytes = sum(tensor.numel() * 4 for tensor in (*arguments, arguments[0]))
    elements = channels * length * STATE_SIZE
    runs: dict[str, Callable[[], Any]] = {
        "kernel": lambda: selective_scan_2d(*arguments),
        "exp bound": lambda: bounds.exponentials(elements),
        "FMA bound": lambda: bounds.multiply_adds(elements),
    }
    rates = (*arguments[:2], arguments[2][..., 0].contiguous(), *arguments[3:])
    for decay in ("power", "scalar"):
        runs[decay] = partial(selective_scan_2d, *rates, decay=decay)
    backward: dict[str, Callable[[], Any]] = {"kernel": lambda: with_backward(selective_scan_2d)(*arguments)}
    peers: dict[str, Callable[..., Tensor]] = {}
    if not options.kernel_only:
        peers = {"loop": loop, "time-major": time_major}
        if elements * 4 < MOST_PEER_BYTES / 2:
            peers["pscan"] = parallel_scan
        sequences = make_sequences(channels, length)
        runs |= {name: partial(peer, *sequences) for name, peer in peers.items()}
        if (channels, length) == SHAPES[0]:
            backward |= {
                "loop": lambda: with_backward(loop)(*sequences),
                "time-major": lambda: with_backward(time_major)(*sequences),
            }
    with torch.no_grad():
        forward_times = measure(runs, options.repeats, options.slow_repeats)
        memory = {name: extra_memory(runs[name]) for name in peers}
    with multiprocessing.get_context("spawn").Pool(1) as fresh:
        memory["kernel"], backward_memory = fresh.apply(kernel_memory, (channels, length, threads))
    return {
        "channels": channels,
        "length": length,
        "threads": threads,
        "forward": forward_times,
        "forward_backward": measure(backward, max(3, options.repeats // 3), options.slow_repeats),
        "input_output_bytes": kernel_bytes,
        "u_bytes": arguments[0].numel() * 4,
        "extra_bytes": memory,
        "backward_extra_bytes": backward_memory,
    }


def kernel_memory(channels: int, length: int, threads: int) -> tuple[int | None, int | None]:
    """Return the extra bytes of the forward pass, and of forward and backward pass together.

    Inputs, output and gradients are not counted. Call this in a new process: after other work, free memory of the
    allocator would distort the result.
    """
    torch.set_num_threads(threads)
    arguments: tuple[Any, ...] = make_map(channels, length)
    leaves: list[Any] = [argument.detach().requires_grad_() for argument in arguments]
    grad_y = torch.ones_like(arguments[0])

    def backward() -> Tensor:
        y = selective_scan_2d(*leaves)
        torch.autograd.grad(y, leaves, grad_y)
        return y.detach()

    # Warm up: memory that the first call sets up once does not belong to the scan.
    backward()
    both = extra_memory(backward)
    with torch.no_grad():
        forward = extra_memory(lambda: selective_scan_2d(*arguments))
    gradients = sum(tensor.numel() * 4 for tensor in arguments)
    return forward, None if both is None else max(0, both - gradients)


def print_table(results: list[dict[str, Any]], console: Console) -> None:
    """Print medians and ratios as a table."""
    table = Table(title=f"selective scan on the CPU, N = {STATE_SIZE}, {cpu.instruction_set()}", title_justify="left")
    for name in (
        *("K D, L", "threads", "kernel", "of exp bound", "FMA bound reached", "power", "scalar", "loop", "time-major"),
        *("pscan", "memory", "fwd+bwd"),
    ):
        table.add_column(name, justify="right")
    table.add_column("loop, time-major fwd+bwd", justify="right")
    table.add_column("bwd memory", justify="right")

    def ratio(times: dict[str, Any], name: str) -> str:
        if name not in times:
            return "-"
        return f"{times[name]['median'] / times['kernel']['median']:.0f}x"

    for row in results:
        forward, both = row["forward"], row["forward_backward"]
        kernel = forward["kernel"]
        memory, backward_bytes = row["extra_bytes"]["kernel"], row["backward_extra_bytes"]
        table.add_row(
            f"{row['channels']}, {row['length']}",
            str(row["threads"]),
            f"{1e3 * kernel['median']:.2f} ms ({1e3 * kernel['least']:.2f}..{1e3 * kernel['most']:.2f})",
            f"{kernel['median'] / forward['exp bound']['median']:.2f}",
            f"{100 * forward['FMA bound']['median'] / kernel['median']:.0f} %",
            *(f"{forward[name]['median'] / kernel['median']:.2f}" for name in ("power", "scalar")),
            *(ratio(forward, name) for name in ("loop", "time-major", "pscan")),
            "-" if memory is None else f"{100 * memory / row['input_output_bytes']:.1f} %",
            f"{1e3 * both['kernel']['median']:.1f} ms",
            f"{ratio(both, 'loop')}, {ratio(both, 'time-major')}",
            "-" if backward_bytes is None else f"{backward_bytes / row['u_bytes']:.2f} u",
        )
    console.print(table)


def main() -> None:
    """Measure every shape and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write all times as JSON")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--shapes", type=int, nargs="+", default=list(range(len(SHAPES))), help=f"indices of {SHAPES}")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--slow-repeats", type=int, default=2, help="repetitions of scans that take over half a second")
    parser.add_argument("--kernel-only", action="store_true", help="do not time the peers")
    options = parser.parse_args()
    console = Console(width=200)
    with tempfile.TemporaryDirectory() as folder:
        bounds = ScanBounds(Path(folder))
        cases = [(SHAPES[index], threads) for index in options.shapes for threads in options.threads]
        results = [
            measure_shape(*shape, threads, bounds, options)
            for shape, threads in track(cases, description="measuring", console=Console(stderr=True))
        ]
    print_table(results, console)
    if options.out:
        document = {"torch": torch.__version__, "instruction_set": cpu.instruction_set(), "results": results}
        options.out.write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
