# SPDX-License-Identifier: Apache-2.0
"""Read the resident memory of this process; on Linux only."""

from __future__ import annotations

from pathlib import Path


def resident_mb() -> float | None:
    """Return the resident memory of the process in MiB, or None if the system does not report it."""
    return _status_mb("VmRSS")


def peak_resident_mb() -> float | None:
    """Return the largest resident memory that the process has had in MiB, or None if the system does not report it.

    Other than ``ru_maxrss``, it does not include the memory of the process that started this one.
    """
    return _status_mb("VmHWM")


def _status_mb(field: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    values = [int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:")]
    return values[0] if values else None
