# SPDX-License-Identifier: Apache-2.0
"""Describe the machine that a measurement was made on."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

from fusion_mamba_ros import __version__

# From the widest: only the first that the processor has is named.
_INSTRUCTION_SETS = ("amx_int8", "avx512_vnni", "avx512f", "avx_vnni", "avx2", "sve", "asimd")


def describe_machine() -> dict[str, Any]:
    """Return processor, cores, memory, system and load as plain values. What the system does not tell is absent."""
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
    known = set(flags[1].split()) if flags else set()
    memory = re.search(r"^MemTotal:\s*(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    found: dict[str, Any] = {
        "processor": processor_name(),
        "cores": len(os.sched_getaffinity(0)),
        "instruction set": next((name for name in _INSTRUCTION_SETS if name in known), None),
        "memory (GB)": round(int(memory[1]) / 1e6, 1) if memory else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "fusion_mamba_ros": __version__,
        "load average at the start": round(os.getloadavg()[0], 2),
    }
    return {name: value for name, value in found.items() if value is not None}


def processor_name() -> str:
    """Return the name of the processor, or of its architecture if the system does not tell more."""
    model = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
    return model[1].strip() if model else platform.processor() or platform.machine()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
