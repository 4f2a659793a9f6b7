# SPDX-License-Identifier: Apache-2.0
"""Measure the memory growth of the process during one call; on Linux only."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from fusion_mamba_ros.perception.process_memory import peak_resident_mb, resident_mb


def extra_memory(run: Callable[[], Tensor]) -> int | None:
    """Return the peak growth of the process during ``run`` in bytes, without the result of ``run``.

    Returns None on systems without ``/proc/self/clear_refs``.
    """
    marker = Path("/proc/self/clear_refs")
    if not marker.exists():
        return None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    # Makes the present memory the peak.
    marker.write_text("5")
    before = resident_mb()
    result = run()
    peak = peak_resident_mb()
    if before is None or peak is None:
        return None
    return max(0, round((peak - before) * 2**20) - result.numel() * result.element_size())
