# SPDX-License-Identifier: Apache-2.0
"""The node and the commands of exported models need no PyTorch; the others say that it is missing."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from without_torch import ROOT, command_without_torch, run_without_torch

from fusion_mamba_ros.perception.default_checkpoint import default_checkpoint

PACKAGE = ROOT / "fusion_mamba_ros"
# The folders on the way of the node and of exported models.
FOLDERS = ("perception", "ros", "streams", "bags", "datasets", "evaluation", "registration", "synthetic", "commands")
# The files of the PyTorch engine, and `NETWORK` the layers that are written in PyTorch.
TORCH_FILES = {"perception/torch_engine.py", "perception/checkpoint.py", "perception/compute.py"}
NETWORK = ("fusion_mamba_ros.network", "fusion_mamba_ros.training")


def imported_at_import_time(path: Path) -> Iterator[str]:
    """Yield the modules that ``path`` imports when it is imported: outside functions and `if TYPE_CHECKING`."""
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"), path.name)]
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        pending += ast.iter_child_nodes(node)


def test_only_the_torch_engine_imports_torch_at_module_level() -> None:
    torch_modules = {f"fusion_mamba_ros.{name.removesuffix('.py').replace('/', '.')}" for name in TORCH_FILES}
    paths = [path for folder in FOLDERS for path in (PACKAGE / folder).rglob("*.py")]
    wrong = {
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in paths
        if str(path.relative_to(PACKAGE)) not in TORCH_FILES
        for name in imported_at_import_time(path)
        if name.partition(".")[0] == "torch" or name in torch_modules or name.startswith(NETWORK)
    }
    assert len(paths) > 100 and not wrong
    assert all("torch" in set(imported_at_import_time(PACKAGE / name)) for name in TORCH_FILES)


def modules_of(*folders: str) -> list[str]:
    paths = [path for folder in folders for path in sorted((PACKAGE / folder).rglob("*.py"))]
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in paths
        if str(path.relative_to(PACKAGE)) not in TORCH_FILES
    ]


IMPORT = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\nprint('imported')\n"


def test_everything_but_the_network_and_training_imports_without_torch() -> None:
    result = run_without_torch(IMPORT, *modules_of(*(folder for folder in FOLDERS if folder != "ros")))
    assert result.stdout == "imported\n", result.stderr


def test_the_node_imports_without_torch() -> None:
    pytest.importorskip("rclpy")
    result = run_without_torch(IMPORT, *modules_of("ros"))
    assert result.stdout == "imported\n", result.stderr


def test_help_works_without_torch() -> None:
    result = command_without_torch("--help")
    assert result.returncode == 0 and "predict" in result.stdout, result.stderr


def test_info_says_that_torch_is_missing_and_what_its_engine_needs() -> None:
    result = command_without_torch("info", "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["torch"] is None and found["selective_scan"] == []
    torch_engine = next(row for row in found["engines"] if row["engine"] == "torch")
    assert not torch_engine["available"] and "pip install torch" in torch_engine["note"]
    table = command_without_torch("info")
    assert table.returncode == 0 and "torch             not installed" in table.stdout, table.stderr
    assert "None" not in table.stdout and "threads" not in table.stdout


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "rgb.png"
    cv2.imwrite(str(path), np.zeros((64, 96, 3), np.uint8))
    return path


def one_sentence(stderr: str) -> str:
    lines = stderr.strip().splitlines()
    assert len(lines) == 1, stderr
    return lines[0]


def test_predicting_with_a_checkpoint_says_what_to_install_or_to_name(image: Path, tmp_path: Path) -> None:
    checkpoint = default_checkpoint()
    result = command_without_torch("predict", "--rgb", image, "--checkpoint", checkpoint, "--out", tmp_path / "out")
    assert result.returncode == 2
    assert one_sentence(result.stderr) == (
        f"error: '{checkpoint}' needs PyTorch, which is not installed (no torch): install it with 'pip install torch', "
        "or name an exported model (.onnx)"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "--data", "data", "--out", "out"),
        ("distill", "--images", "data", "--teacher", "t.safetensors", "--out", "out"),
        ("calibrate", "c.safetensors", "--data", "data", "--out", "out"),
        ("publish", "c.safetensors", "--metrics", "m.json", "--out", "out"),
        ("import-weights", "w.pt", "--out", "out"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_command_that_needs_torch_says_so_in_one_sentence(arguments: tuple[str, ...], tmp_path: Path) -> None:
    result = command_without_torch(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    sentence = one_sentence(result.stderr)
    assert sentence == "error: this command needs PyTorch, which is not installed: install it with 'pip install torch'"


REPLAY_METADATA = """
from fusion_mamba_ros.perception.checkpoint_metadata import read_document
document = read_document(sys.argv[1])
print(document.metadata.class_names, document.modalities())
"""


def test_the_metadata_of_a_checkpoint_is_read_without_torch() -> None:
    result = run_without_torch(REPLAY_METADATA, default_checkpoint())
    assert "'rgb': 3" in result.stdout and "person" in result.stdout, result.stderr
