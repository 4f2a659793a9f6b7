# SPDX-License-Identifier: Apache-2.0
"""The waiting policy is set before torch is loaded, in every entry point, and the user's environment wins."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fusion_mamba_ros.openmp_policy import SPIN_ROUNDS, WAITING_VARIABLES

ROOT = Path(__file__).parents[1]
# Prints the policy at the moment at which torch is looked for, and ends there.
WATCH = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print("policy", os.environ.get("GOMP_SPINCOUNT"), os.environ.get("OMP_WAIT_POLICY"), flush=True)
            os._exit(0)
sys.meta_path.insert(0, Watch())
sys.argv = ["program", "info"]
"""
ENTRY_POINTS = {
    "fusion-mamba": "from fusion_mamba_ros.cli import main; main()",
    "python -m": "import runpy; runpy.run_module('fusion_mamba_ros.cli', run_name='__main__')",
    # The node imports torch when it is configured with a checkpoint that needs it.
    "detector_node": "import fusion_mamba_ros.ros.detector.detector_node, fusion_mamba_ros.perception.torch_engine",
}


def policy_of(entry_point: str, **environment: str) -> list[str]:
    if entry_point == "detector_node" and importlib.util.find_spec("rclpy") is None:
        pytest.skip("ROS is not installed")
    rest = {name: value for name, value in os.environ.items() if name not in WAITING_VARIABLES}
    program = [sys.executable, "-c", WATCH + ENTRY_POINTS[entry_point]]
    ended = subprocess.run(program, capture_output=True, text=True, cwd=ROOT, env=rest | environment, timeout=90)
    lines = [line.split()[1:] for line in ended.stdout.splitlines() if line.startswith("policy")]
    assert len(lines) == 1, ended.stdout + ended.stderr
    return lines[0]


@pytest.mark.parametrize("entry_point", sorted(ENTRY_POINTS))
def test_it_is_set_before_torch_is_imported_unless_the_user_set_one(entry_point: str) -> None:
    assert policy_of(entry_point) == [str(SPIN_ROUNDS), "None"]
    assert policy_of(entry_point, OMP_WAIT_POLICY="active") == ["None", "active"]
    assert policy_of(entry_point, GOMP_SPINCOUNT="7") == ["7", "None"]
