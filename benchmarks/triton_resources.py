# SPDX-License-Identifier: Apache-2.0
"""Compile the Triton kernels of the scan for each GPU and print the resources that they use; no device is needed.

    python benchmarks/triton_resources.py --out triton_resources.json

Registers and stack are read from the machine code with cuobjdump, which triton ships. The kernels have no local arrays,
so every byte of stack is a spilled register. A tile is channels x states x steps. Spilled and shared memory are in
bytes. "warps" is the number of warps that a multiprocessor with 65536 registers can hold. If the installed triton
cannot compile for a target, the compiler's message is printed below the table.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# In interpreter mode triton would replace the kernels with Python functions.
os.environ.pop("TRITON_INTERPRET", None)

import triton
from rich.console import Console
from rich.table import Table
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from fusion_mamba_ros.network.selective_scan import triton_kernels
from fusion_mamba_ros.network.selective_scan.triton_backend import Tiling

TARGETS = {75: "T4", 87: "Orin", 89: "RTX 40", 90: "H100", 110: "Thor"}
_COUNTS = ("walks", "directions", "channels", "groups", "state_size", "height", "width", "part_channels")
WARP_SIZE = 32
_REGISTERS_OF_A_PROCESSOR = 65536


@dataclass(frozen=True)
class Resources:
    """Resources of one compiled kernel. ``problem`` says why they are unknown; it is empty if they are known."""

    kernel: str
    capability: int
    states: int
    chunk_steps: int
    channels: int | None
    registers: int = 0
    spilled_bytes: int = 0
    shared_bytes: int = 0
    warps_by_registers: int = 0
    problem: str = ""


def variants(states: int) -> Iterator[tuple[str, Tiling, dict[str, Any]]]:
    """Yield (kernel, tiling, compile-time arguments) of the kernels that the backend uses for 64 pixels and more."""
    switches = {"HAS_BIAS": True, "SOFTPLUS": True, "STATES": states}
    steps = max(16, min(64, 1024 // states))
    for channels in (1, 2) if states * steps <= 1024 else (1,):
        tiling = Tiling(steps, states, channels)
        tile = {**switches, "STEPS": steps, "CHANNELS": channels}
        yield "forward", tiling, {**tile, "HAS_D": True, "KEEP_STATES": False}
        yield "carry", tiling, tile
    yield "backward", Tiling(steps, states, 1), {**switches, "STEPS": steps, "HAS_D": True}


def compile_kernel(kernel: str, capability: int, constants: dict[str, Any], tiling: Tiling) -> Any:
    """Return the compiled kernel with ``asm`` and ``metadata``; its pointers count as aligned, as torch's are.

    Raises ``RuntimeError`` with one line if triton or its assembler does not support the target.
    """
    function = getattr(triton_kernels, f"{kernel}_kernel")
    signature, alignment = {}, {}
    for index, name in enumerate(function.arg_names):
        signature[name] = "constexpr" if name in constants else "i32" if name in _COUNTS else "*fp32"
        if signature[name] == "*fp32":
            alignment[(index,)] = [["tt.divisibility", 16]]
    source = ASTSource(function, signature, constexprs=constants, attrs=alignment)
    told = io.StringIO()
    try:
        with contextlib.redirect_stdout(told):
            return triton.compile(source, target=GPUTarget("cuda", capability, WARP_SIZE), options=tiling.options())
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        fatal = [line for line in lines if "fatal" in line]
        raise RuntimeError((fatal or lines or [type(error).__name__])[0]) from error


def read_usage(cubin: bytes) -> tuple[int, int]:
    """Return the registers and the bytes of stack of one thread, read from machine code."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        printed = subprocess.run([tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True)
    found = re.search(r"REG:(\d+) STACK:(\d+)", printed.stdout)
    if found is None:
        raise RuntimeError("cuobjdump printed no resource usage for this machine code")
    return int(found[1]), int(found[2])


def measure(kernel: str, capability: int, constants: dict[str, Any], tiling: Tiling) -> Resources:
    """Return the resources of one kernel on one GPU, or the reason why they are unknown."""
    row = Resources(kernel, capability, tiling.states, tiling.chunk_steps, constants.get("CHANNELS"))
    try:
        compiled = compile_kernel(kernel, capability, constants, tiling)
        registers, stack = read_usage(compiled.asm["cubin"])
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        return Resources(**{**asdict(row), "problem": str(error)})
    # The hardware allocates registers to a warp in units of 256.
    of_warp = -(-registers * WARP_SIZE // 256) * 256
    figures = {
        "registers": registers,
        "spilled_bytes": stack,
        "shared_bytes": compiled.metadata.shared,
        "warps_by_registers": _REGISTERS_OF_A_PROCESSOR // of_warp // tiling.warps * tiling.warps,
    }
    return Resources(**{**asdict(row), **figures})


def main() -> None:
    """Print the table and write the JSON document."""
    parser = argparse.ArgumentParser(description="Registers, spills and shared memory of the Triton scan kernels.")
    parser.add_argument("--targets", type=int, nargs="+", default=list(TARGETS), help="compute capabilities, e.g. 87")
    parser.add_argument("--states", type=int, default=16, help="state size N, a power of two")
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    arguments = parser.parse_args()
    # Triton 3.9 warns about a new default of an option that `Tiling.options` sets explicitly.
    warnings.filterwarnings("ignore", message="TRITON_DEFAULT_FP_FUSION")
    table = Table(*("target", "kernel", "tile"), title=f"triton {triton.__version__}")
    for column in ("registers", "spilled", "shared", "warps"):
        table.add_column(column, justify="right")
    console, rows = Console(), []
    for capability in arguments.targets:
        with console.status(f"compiling for sm_{capability}"):
            found = [measure(name, capability, given, tiling) for name, tiling, given in variants(arguments.states)]
        rows += found
        target = f"sm_{capability} {TARGETS.get(capability, '')}"
        for row in found:
            figures = (row.registers, row.spilled_bytes, row.shared_bytes, row.warps_by_registers)
            cells = ["-"] * len(figures) if row.problem else [str(figure) for figure in figures]
            table.add_row(target, row.kernel, f"{row.channels or 1} x {row.states} x {row.chunk_steps}", *cells)
    console.print(table)
    for capability, problem in sorted({(row.capability, row.problem) for row in rows if row.problem}):
        console.print(f"sm_{capability}: not compiled: {problem}")
    if arguments.out:
        arguments.out.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
