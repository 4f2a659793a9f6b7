# SPDX-License-Identifier: Apache-2.0
"""Run Python in an interpreter in which PyTorch cannot be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_BLOCKED = """
import importlib.abc, sys

class NoTorch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoTorch())
"""


def run_without_torch(script: str, *arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run ``script`` with ``arguments`` in a process without PyTorch."""
    return subprocess.run(
        [sys.executable, "-c", _BLOCKED + script, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))},
    )


def command_without_torch(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run `fusion-mamba` with ``arguments`` in a process without PyTorch."""
    return run_without_torch("from fusion_mamba_ros.cli import main\nmain()\n", *arguments, cwd=cwd)
