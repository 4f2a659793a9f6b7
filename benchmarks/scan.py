# SPDX-License-Identifier: Apache-2.0
"""Compare the time of the CPU scan kernel with its peers and with the time of its exponentials, in one run.

    python benchmarks/scan.py --out scan.json

The peers scan sequences (channels, L) that are already in scan order. So their times do not include the four
permutations and the sum over the directions.
  loop        mamba_ssm's documented reference algorithm: exp(delta A) and delta u B at once, then one step at a time
  time-major  the same algorithm with the steps outermost in memory, so that each step reads contiguous memory
  pscan       the parallel scan of mambapy
  exp bound   only the kernel's vectorised exp on as many (channel, step, state) elements
The kernel scans channels / 4 maps of L pixels in four directions. Repetitions are interleaved. The table shows
medians; the JSON document contains all times. Memory is the growth of a separate process without inputs and output.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from exp_bound import ExpBound
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from fusion_mamba_ros.analysis.process_memory import extra_memory
from fusion_mamba_ros.network.selective_scan import cpu, selective_scan_2d

SHAPES = ((512, 6400), (2048, 6400), (4096, 1600), (8192, 400))
STATE_SIZE = 16
# Calls up to this many seconds are timed at their second run.
SHORT_SEC = 0.1
# Limit in bytes for an (L, channels, N) tensor: pscan, which keeps several, is left out above half of it.
MOST_PEER_BYTES = 1.2e9
Sequences = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def make_map(channels: int, length: int) -> tuple[Tensor, ...]:
    """Return u, delta, A, B, C, D of a square map for ``selective_scan_2d``; delta is the value before softplus."""
    side, maps = math.isqrt(length), channels // 4
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    projections = (1, 4, STATE_SIZE, side, side)
    return (
        normal(1, maps, side, side),
        normal(1, 4, maps, side, side) - 2,
        -torch.exp(normal(4, maps, STATE_SIZE) / 2),
        normal(*projections),
        normal(*projections),
        normal(4, maps),
    )


def make_sequences(channels: int, length: int) -> Sequences:
    """Return u, delta, A, B, C, D of sequences (channels, L); B and C are (4, N, L), one entry per direction."""
    u, delta, A, B, C, D = make_map(channels, length)
    repeated = u.expand(4, -1, -1, -1).reshape(channels, length).contiguous()
    return (
        repeated,
        delta.reshape(channels, length),
        A.reshape(channels, STATE_SIZE),
        B.reshape(4, STATE_SIZE, length),
        C.reshape(4, STATE_SIZE, length),
        D.reshape(channels),
    )


def loop(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """Return the scan by mamba_ssm's reference algorithm, which repeats B and C for each channel.

    ``unbind`` splits the steps at once. With ``decays[:, t]`` in each step, autograd would create a gradient tensor of
    all steps each time, which would take over ten minutes for (512, 6400).
    """
    delta = torch.nn.functional.softplus(delta)
    decays = torch.exp(torch.einsum("dl,dn->dln", delta, A))
    B, C = (projection.repeat_interleave(len(u) // 4, dim=0) for projection in (B, C))
    inputs = torch.einsum("dl,dnl,dl->dln", delta, B, u)
    state = u.new_zeros(A.shape)
    outputs = []
    for decay, entering, C_step in zip(decays.unbind(1), inputs.unbind(1), C.unbind(2), strict=True):
        state = decay * state + entering
        outputs.append(torch.einsum("dn,dn->d", state, C_step))
    return torch.stack(outputs, dim=1) + u * D[:, None]


def entering_states(delta_u: Tensor, B: Tensor) -> Tensor:
    """Return delta u B (L, channels, N) from delta u (L, channels), without repeating B for each channel."""
    return (delta_u.unflatten(1, (4, -1))[..., None] * B.permute(2, 0, 1)[:, :, None]).flatten(1, 2)


def time_major(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """Return the scan by the algorithm of `loop` on tensors with the steps outermost."""
    delta, u_steps = torch.nn.functional.softplus(delta).t().contiguous(), u.t().contiguous()
    decays = torch.exp(delta[:, :, None] * A)
    inputs = entering_states(delta * u_steps, B)
    C_steps = C.permute(2, 0, 1)[..., None].contiguous()
    state = u.new_zeros(A.shape)
    outputs = []
    for decay, entering, C_step in zip(decays.unbind(), inputs.unbind(), C_steps.unbind(), strict=True):
        state = torch.addcmul(entering, decay, state)
        outputs.append(torch.bmm(state.view(4, -1, STATE_SIZE), C_step).view(-1))
    return torch.stack(outputs, dim=1) + u * D[:, None]


def parallel_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """Return the scan by mambapy's ``pscan``, whose tensors are (1, L, channels, N)."""
    from mambapy.pscan import pscan

    delta, u_steps = torch.nn.functional.softplus(delta).t(), u.t()
    decays = torch.exp(delta[:, :, None] * A)
    states = pscan(decays[None], entering_states(delta * u_steps, B)[None])[0]
    y = torch.matmul(states.unflatten(1, (4, -1)), C.permute(2, 0, 1)[..., None])
    return y.flatten(1).t() + u * D[:, None]


def with_backward(scan: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return ``scan`` followed by the gradients of all its tensors."""

    def run(*arguments: Tensor) -> Tensor:
        leaves = [argument.detach().requires_grad_() for argument in arguments]
        y = scan(*leaves)
        torch.autograd.grad(y, leaves, torch.ones_like(y))
        return y.detach()

    return run


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


def measure_shape(channels: int, length: int, threads: int, bound: ExpBound, options: argparse.Namespace) -> dict:
    """Return all results of one shape with ``threads`` threads."""
    torch.set_num_threads(threads)
    # Warm up: the first calls of a process include one-time work.
    with_backward(selective_scan_2d)(*make_map(16, 64))
    bound(STATE_SIZE)
    arguments = make_map(channels, length)
    kernel_bytes = sum(tensor.numel() * 4 for tensor in (*arguments, arguments[0]))
    elements = channels * length * STATE_SIZE
    runs: dict[str, Callable[[], Any]] = {
        "kernel": lambda: selective_scan_2d(*arguments),
        "exp bound": lambda: bound(elements),
    }
    backward: dict[str, Callable[[], Any]] = {"kernel": lambda: with_backward(selective_scan_2d)(*arguments)}
    peers: dict[str, Callable[..., Tensor]] = {}
    if not options.kernel_only:
        peers = {"loop": loop, "time-major": time_major}
        if elements * 4 < MOST_PEER_BYTES / 2:
            peers["pscan"] = parallel_scan
        sequences = make_sequences(channels, length)
        runs |= {name: (lambda peer=peer: peer(*sequences)) for name, peer in peers.items()}
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
    arguments = make_map(channels, length)
    leaves = [argument.detach().requires_grad_() for argument in arguments]
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


def print_table(results: list[dict], console: Console) -> None:
    """Print medians and ratios as a table."""
    table = Table(title=f"selective scan on the CPU, N = {STATE_SIZE}, {cpu.instruction_set()}", title_justify="left")
    for name in ("K D, L", "threads", "kernel", "of exp bound", "loop", "time-major", "pscan", "memory", "fwd+bwd"):
        table.add_column(name, justify="right")
    table.add_column("loop, time-major fwd+bwd", justify="right")
    table.add_column("bwd memory", justify="right")

    def ratio(times: dict, name: str) -> str:
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
    console = Console(width=160)
    with tempfile.TemporaryDirectory() as folder:
        bound = ExpBound(Path(folder))
        cases = [(SHAPES[index], threads) for index in options.shapes for threads in options.threads]
        results = [
            measure_shape(*shape, threads, bound, options)
            for shape, threads in track(cases, description="measuring", console=Console(stderr=True))
        ]
    print_table(results, console)
    if options.out:
        document = {"torch": torch.__version__, "instruction_set": cpu.instruction_set(), "results": results}
        options.out.write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
