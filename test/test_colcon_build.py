# SPDX-License-Identifier: Apache-2.0
"""The package as a ROS workspace builds and installs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


pytestmark = pytest.mark.checkout


@pytest.mark.skipif(not (Path(sys.prefix) / ".setup").is_dir(), reason="not run by the Python of tools/setup.sh")
def test_colcon_installs_code_messages_kernel_executables_and_launch_files() -> None:
    result = subprocess.run(
        ["bash", str(ROOT / "tools/check_colcon_build.sh")], capture_output=True, text=True, timeout=280
    )
    assert result.returncode == 0, result.stderr
    lines = dict(line.split(": ", 1) for line in result.stdout.splitlines() if ": " in line)
    assert lines["executables"].split() == ["bag_player", "detector_node"]
    assert set(lines["launch files"].split()) == {path.name for path in (ROOT / "launch").glob("*.launch.py")}
    assert set(lines["configuration"].split()) == {path.name for path in (ROOT / "config").iterdir()}
    assert "fusion-mamba starts" in result.stdout
    tests = re.fullmatch(r"Summary: (\d+) tests?, 0 errors, 0 failures, 0 skipped", lines["tests"])
    assert tests is not None, lines["tests"]
    assert int(tests[1]) > 1
