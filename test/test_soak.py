# SPDX-License-Identifier: Apache-2.0
"""The short form of the soak: each fault once, with the real node and a real checkpoint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

SOAK = Path(__file__).parents[1] / "tools" / "soak.py"


def test_a_minute_of_faults_leaves_memory_threads_and_handles_as_they_were() -> None:
    command = [sys.executable, str(SOAK), "--seconds", "50", "--every", "4"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    assert "nothing grew" in result.stdout
