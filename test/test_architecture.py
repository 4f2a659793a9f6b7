# SPDX-License-Identifier: Apache-2.0
"""The layers of docs/explanation/architecture.md and their allowed imports, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "fusion_mamba_ros"

# Layer to the layers that it may import besides itself.
ARROWS = {
    "network": set(),
    "streams": set(),
    "synthetic": set(),
    "tracking": set(),
    "perception": {"network", "streams"},
    "registration": {"perception"},
    "deployment": {"perception", "network"},
    "datasets": {"perception", "network", "streams", "synthetic"},
    "bags": {"datasets", "perception", "streams", "synthetic"},
    "evaluation": {"bags", "datasets", "perception", "network", "streams"},
    "training": {"evaluation", "datasets", "perception", "network"},
    "analysis": {"training", "evaluation", "bags", "datasets", "perception", "network"},
    "commands": {
        *("analysis", "training", "evaluation", "bags", "datasets", "registration", "deployment"),
        *("perception", "network", "streams", "synthetic", "tracking", "openmp_policy"),
    },
    "ros": {
        "evaluation",
        "bags",
        "datasets",
        "deployment",
        "perception",
        "network",
        "streams",
        "tracking",
        "openmp_policy",
    },
    "openmp_policy": set(),
    "cli": {"commands", "openmp_policy"},
    "__main__": {"cli"},
    "__init__": set(),
    "msg": set(),
}
ROS = {
    *("rclpy", "message_filters", "cv_bridge", "launch", "launch_ros", "ament_index_python", "rosidl_runtime_py"),
    *(
        "rcl_interfaces",
        "lifecycle_msgs",
        "rosgraph_msgs",
        "builtin_interfaces",
        "diagnostic_msgs",
        "diagnostic_updater",
    ),
    *("sensor_msgs", "std_msgs", "geometry_msgs", "vision_msgs", "foxglove_msgs"),
}
NETWORK_CLIENTS = {
    *(
        "requests",
        "urllib3",
        "httpx",
        "aiohttp",
        "ftplib",
        "http",
        "socket",
        "huggingface_hub",
        "gdown",
        "wget",
        "boto3",
    ),
    *("urllib.request", "torch.hub", "xmlrpc", "smtplib"),
}
FILES = sorted(path for path in PACKAGE.rglob("*.py"))


def layer_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


def imported(path: Path) -> Iterator[str]:
    """Yield the full name of every module that ``path`` imports, at its top or inside a function."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), path.name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
            yield from (str(value.value) for value in node.args if isinstance(value, ast.Constant))


def test_every_layer_has_its_arrows_written_down() -> None:
    assert {layer_of(path) for path in FILES} <= set(ARROWS)


@pytest.mark.parametrize("layer", sorted(ARROWS))
def test_a_layer_imports_only_where_its_arrows_point(layer: str) -> None:
    allowed = ARROWS[layer] | {layer}
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in FILES
        if layer_of(path) == layer
        for name in imported(path)
        if name.startswith("fusion_mamba_ros.")
        and (name.split(".")[1] in ARROWS or (PACKAGE / name.split(".")[1]).exists())
        and name.split(".")[1] not in allowed | ({"msg"} if layer == "ros" else set())
    }
    assert not wrong


def test_nothing_outside_ros_imports_ros() -> None:
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in FILES
        if layer_of(path) != "ros"
        for name in imported(path)
        if name.split(".")[0] in ROS or name.startswith("fusion_mamba_ros.msg")
    }
    assert not wrong


def test_nothing_imports_a_network_client() -> None:
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in FILES
        for name in imported(path)
        if name in NETWORK_CLIENTS or name.split(".")[0] in NETWORK_CLIENTS
    }
    assert not wrong


def test_network_knows_tensors_and_no_images() -> None:
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in FILES
        for name in imported(path)
        if layer_of(path) == "network" and name.split(".")[0] in {"numpy", "cv2", "PIL"}
    }
    assert not wrong


def test_boxes_and_texts_are_drawn_in_one_folder() -> None:
    drawing = {"cv2.rectangle", "cv2.putText", "cv2.getTextSize"}
    wrong = {
        f"{path.relative_to(ROOT)} calls {ast.unparse(node)}"
        for path in FILES
        if PACKAGE / "perception" / "drawing" not in path.parents
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), path.name))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in drawing
    }
    assert not wrong


def test_a_file_is_named_for_its_concept() -> None:
    nameless = {"utils", "util", "common", "helpers", "helper", "misc", "tools", "base"}
    assert not [path for path in PACKAGE.rglob("*") if path.stem in nameless]


def test_every_source_file_names_its_licence() -> None:
    folders = (
        "fusion_mamba_ros",
        "test",
        "benchmarks",
        "launch",
        "underlay",
        "tools",
        "scripts",
        "config",
        "requirements",
    )
    sources = {".py", ".c", ".h", ".sh", ".txt", ".xml", ".in", ".yaml", ".toml"}
    silent = [
        path.relative_to(ROOT)
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in sources
        and "SPDX-License-Identifier: Apache-2.0" not in path.read_text(encoding="utf-8")[:400]
    ]
    assert not silent


# What an import may not drag in, on a machine that has it all.
IMPORT_WITHOUT_ROS = """
import builtins, importlib
forbidden = set({forbidden!r})
real = builtins.__import__
def guarded(name, *args, **kwargs):
    if name.split('.')[0] in forbidden:
        raise ModuleNotFoundError(f"No module named '{{name}}' (kept away by the test)")
    return real(name, *args, **kwargs)
builtins.__import__ = guarded
for module in {modules!r}:
    importlib.import_module(module)
print('imported')
"""


def test_everything_but_ros_imports_on_a_machine_without_ros() -> None:
    # The Triton kernel's file is imported on CUDA only, where Triton is installed.
    paths = [path for path in FILES if layer_of(path) not in ("ros", "__main__") and "triton" not in path.stem]
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    script = IMPORT_WITHOUT_ROS.format(forbidden=sorted(ROS), modules=modules)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert result.stdout.strip().endswith("imported"), result.stderr
