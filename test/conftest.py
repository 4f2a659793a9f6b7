# SPDX-License-Identifier: Apache-2.0
"""Mark the tests that use ROS, so that they run one after the other while the others run in parallel.

Fixtures that tests of several files share are here too.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hostile_inputs import Inputs

FOLDER = Path(__file__).parent
# Files that take about a minute or longer. They start first, so that parallel processes end at about the same time.
LONG_FILES = (
    "test_ablation.py",
    "test_colcon_build.py",
    "test_packaging.py",
    "test_train.py",
    "test_train_weights.py",
    "test_trainer.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Add the marker `ros` to every test of a module that needs rclpy, directly or through a module of this folder.

    Tests of `LONG_FILES` come first.
    """
    items.sort(key=lambda item: item.path.name not in LONG_FILES)
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


@pytest.fixture(scope="session")
def good_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small checkpoint that every command accepts."""
    from hostile_inputs import write_good_checkpoint

    return write_good_checkpoint(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture(scope="session")
def good_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a short bag that every command accepts."""
    from hostile_inputs import write_good_bag

    return write_good_bag(tmp_path_factory.mktemp("bags") / "good")


@pytest.fixture
def inputs(tmp_path: Path, good_checkpoint: Path, good_bag: Path, monkeypatch: pytest.MonkeyPatch) -> Inputs:
    """Return the inputs of one hostile case in a folder of its own, which is the working directory."""
    from hostile_inputs import Inputs

    monkeypatch.chdir(tmp_path)
    return Inputs(tmp_path, good_checkpoint, good_bag)


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recipe that trains in seconds."""
    from train_command import write_recipe

    return write_recipe(tmp_path_factory.mktemp("recipe") / "tiny.yaml")


@pytest.fixture
def torch_settings() -> Iterator[None]:
    """Restore the settings of torch that a training in this process changes."""
    import torch

    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)
