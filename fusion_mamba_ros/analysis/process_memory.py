# SPDX-License-Identifier: Apache-2.0
"""Measure the memory growth of the process during one call; on Linux only."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

from torch import Tensor


def extra_memory(run: Callable[[], Tensor]) -> int | None:
    """Return the peak growth of the process during ``run`` in bytes, without the result of ``run``.

    Returns None on systems without ``/proc/self/clear_refs``.
    """
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
