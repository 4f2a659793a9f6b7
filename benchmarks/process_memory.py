# SPDX-License-Identifier: Apache-2.0
"""By how much the process grows while something runs; on Linux."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

from torch import Tensor


def extra_memory(run: Callable[[], Tensor]) -> int | None:
    """Return by how many bytes the process grew at most while ``run`` ran, less its result; None if not on Linux."""
    marker = Path("/proc/self/clear_refs")
    if not marker.exists():
        return None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    marker.write_text("5")
    before = _status_bytes("VmRSS")
    result = run()
    return max(0, _status_bytes("VmHWM") - before - result.numel() * result.element_size())


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0
