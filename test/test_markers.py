# SPDX-License-Identifier: Apache-2.0
"""Which tests run alone because they use ROS."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import needs_rclpy

FOLDER = Path(__file__).parent


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("test_process", True),  # imports rclpy
        ("test_soak", True),  # is skipped without rclpy
        ("test_node_modes", True),  # imports a module that imports rclpy
        ("test_pairing", False),
        ("test_architecture", False),  # names rclpy in a text
    ],
)
def test_a_module_is_marked_if_it_needs_rclpy(module: str, expected: bool) -> None:
    assert needs_rclpy(FOLDER / f"{module}.py") is expected
