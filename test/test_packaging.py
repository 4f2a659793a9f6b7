# SPDX-License-Identifier: Apache-2.0
"""What the package declares: its version, its ROS dependencies, and what a wheel of it contains."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import pytest
from test_architecture import ROS

import fusion_mamba_ros

pytestmark = pytest.mark.checkout
ROOT = Path(__file__).resolve().parents[1]
# Used only if they are installed.
OPTIONAL = {"foxglove_msgs"}
MANIFEST = ElementTree.parse(ROOT / "package.xml").getroot()


def declared(*tags: str) -> set[str]:
    """Return the packages that package.xml names with these tags."""
    return {(element.text or "").strip() for tag in tags for element in MANIFEST.iter(tag)}


def imported_ros_packages() -> dict[str, str]:
    """Return every ROS package that the sources import, with a file that does."""
    # The known names, so that the test works without ROS, and all packages that tools/setup.sh installs.
    ros = ROS | {path.parent.name for path in Path(sys.prefix).glob("share/*/package.xml")}
    found = {}
    for path in [*(ROOT / "fusion_mamba_ros").rglob("*.py"), *(ROOT / "launch").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), path.name)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in (name.partition(".")[0] for name in names):
                if name in ros - {"fusion_mamba_ros"}:
                    found[name] = str(path.relative_to(ROOT))
    return found


def test_every_imported_ros_package_is_declared() -> None:
    imported = imported_ros_packages()
    assert {"rclpy", "builtin_interfaces", "launch"} <= set(imported)
    missing = {
        f"{path} imports {name}"
        for name, path in imported.items()
        if name not in declared("exec_depend", "depend") | OPTIONAL
    }
    assert not missing


def test_every_message_package_is_declared() -> None:
    fields = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "msg").glob("*.msg"))
    used = set(re.findall(r"^([a-z_]+)/\w+ ", fields, re.MULTILINE))
    assert used
    assert used <= declared("depend")


def test_the_version_is_the_same_everywhere() -> None:
    versions = {"package.xml": MANIFEST.findtext("version"), "__init__.py": fusion_mamba_ros.__version__}
    newest = re.search(
        r"^(\d+\.\d+\.\d+)( \(.*\))?\n-+$", (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8"), re.MULTILINE
    )
    versions["CHANGELOG.rst"] = newest and newest[1]
    assert set(versions.values()) == {fusion_mamba_ros.__version__}, versions


def test_what_runs_without_pytorch_lists_every_other_dependency_of_the_package() -> None:
    lines = (ROOT / "requirements/runtime.txt").read_text(encoding="utf-8").splitlines()
    listed = {line for line in lines if not line.startswith("#")}
    section = (
        (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("\ndependencies = [")[2].partition("\n]")[0]
    )
    dependencies = set(re.findall(r'^  "(.+?)",', section, re.MULTILINE))
    assert len(dependencies) > 5
    assert {line for line in listed if not line.startswith("onnxruntime")} == {
        dependency for dependency in dependencies if not dependency.startswith("torch")
    }


def test_a_wheel_has_types_recipes_kernel_and_weights(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("fusion_mamba_ros", "weights"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("pyproject.toml", "setup.py", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    result = subprocess.run(
        [*command, "--wheel-dir", str(tmp_path), str(source)], capture_output=True, text=True, timeout=240
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"fusion_mamba_ros-{fusion_mamba_ros.__version__}-py3-none-")
    names = zipfile.ZipFile(wheel).namelist()
    assert "fusion_mamba_ros/py.typed" in names
    assert "fusion_mamba_ros/training/recipes/nano.yaml" in names
    assert {"bag.html", "style.css", "sort.js"} <= {name.rpartition("bag_report/templates/")[2] for name in names}
    assert "fusion_mamba_ros/network/selective_scan/libfusion_mamba_scan.so" in names
    assert "fusion_mamba_ros/deployment/libfusion_mamba_onnxruntime.so" in names
    assert any(name.endswith("fusion_mamba_nano.onnx") for name in names)
    assert any(name.endswith("fusion_mamba_nano.safetensors") for name in names)
