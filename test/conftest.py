# SPDX-License-Identifier: Apache-2.0
"""Mark the tests that use ROS, so that they run one after the other while the others run in parallel."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Add the marker `ros` to every test of a module that needs rclpy, directly or through a module of this folder."""
    for item in items:
        if needs_rclpy(item.path):
            item.add_marker(pytest.mark.ros)


@functools.cache
def needs_rclpy(path: Path) -> bool:
    """Return whether a module imports rclpy, or is skipped without it, or imports a module of this folder that does."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), path.name)):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "importorskip":
            names.update(str(value.value) for value in node.args if isinstance(value, ast.Constant))
    return "rclpy" in names or any(
        needs_rclpy(FOLDER / f"{name}.py") for name in names if (FOLDER / f"{name}.py").exists()
    )
