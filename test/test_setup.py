# SPDX-License-Identifier: Apache-2.0
"""The environment that tools/setup.sh builds, and what it says where it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
VENV = Path(sys.prefix)
SETUP = ROOT / "tools" / "setup.sh"
pytestmark = pytest.mark.checkout
CHECKOUT = VENV / ".setup" / "checkout"
built_by_setup = pytest.mark.skipif(
    not CHECKOUT.is_file() or CHECKOUT.read_text().strip() != str(ROOT),
    reason="not run by the Python that tools/setup.sh of this checkout made",
)

# vision_msgs 4.1.1 as rosidl generated them for ROS 2 Jazzy from the original package.
VISION_TYPE_HASHES = {
    "Detection2DArray": "RIHS01_214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "LabelInfo": "RIHS01_3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    "VisionInfo": "RIHS01_95d3116a17484ad91c9a2686e1d54890bbfc3ff6c6a2de137738c4950d45d284",
}

# foxglove_msgs 3.4.3, computed from the original definitions.
FOXGLOVE_TYPE_HASHES = {
    "CircleAnnotation": "RIHS01_8bd0a9869b14ed054b6e3fbfb09bd0dbaa90946083adcca96c964a20191fd99a",
    "Color": "RIHS01_ed1b16da40c954e6456b950c2ef4559c179e5cb98f1363cb28c3b90c6ee14120",
    "ImageAnnotations": "RIHS01_bc4e578b1ef80953415d6f966a4cab305c8a44c8b64fc405312b6f06a08fc45e",
    "KeyValuePair": "RIHS01_3a1aafc9b6c5876181434af49e3077c3e63174d48c4be9fbc8f65547c59aaded",
    "Point2": "RIHS01_d85e823b78e2e88bc31629e305558bcdd2ecc9225f5f9390f96d91930f5696f0",
    "PointsAnnotation": "RIHS01_e151e5042d911c2949ff9ef427944596eefdf9672ff93d381e8d24e60addf8e6",
    "TextAnnotation": "RIHS01_9678167e063be85463865db2383506c704498e5f8657f24c576a996e7f2ed2e4",
}
TYPE_HASHES = {
    f"{package}/msg/{name}": type_hash
    for package, hashes in (("vision_msgs", VISION_TYPE_HASHES), ("foxglove_msgs", FOXGLOVE_TYPE_HASHES))
    for name, type_hash in hashes.items()
}


def run_setup(venv: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run tools/setup.sh for another environment folder, with these variables besides the usual ones."""
    usual = {name: value for name, value in os.environ.items() if name != "FUSION_MAMBA_ROS"}
    return subprocess.run(
        ["bash", str(SETUP)],
        env={**usual, "FUSION_MAMBA_VENV": str(venv), **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )


def run_python(code: str, directory: Path, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def stopped_with(result: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that a failed set-up ended with."""
    assert result.returncode == 1
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


@built_by_setup
def test_a_second_run_finds_nothing_to_do() -> None:
    result = run_setup(VENV)
    assert (result.returncode, result.stdout.strip()) == (0, f"setup: {VENV} is up to date")


@built_by_setup
def test_source_and_generated_messages_are_one_package_from_any_directory(tmp_path: Path) -> None:
    output = run_python(
        "import fusion_mamba_ros.streams, fusion_mamba_ros.msg\n"
        "from fusion_mamba_ros.msg import FusionStatus\n"
        "FusionStatus().rgb.paired = 1\n"
        "FusionStatus.__class__.__import_type_support__()\n"
        "print(fusion_mamba_ros.streams.__file__, fusion_mamba_ros.msg.__file__, sep='\\n')",
        tmp_path,
    )
    streams, messages = output.splitlines()
    assert Path(streams) == ROOT / "fusion_mamba_ros/streams/__init__.py"
    assert Path(messages).is_relative_to(VENV)


@built_by_setup
def test_the_ament_index_knows_the_package(tmp_path: Path) -> None:
    output = run_python(
        "from ament_index_python.packages import get_package_prefix, get_package_share_directory as share\n"
        "print(get_package_prefix('fusion_mamba_ros'), share('fusion_mamba_ros'), share('vision_msgs'), sep='\\n')",
        tmp_path,
    )
    prefix, share, _ = map(Path, output.splitlines())
    assert prefix == VENV
    assert (share / "launch").resolve() == ROOT / "launch"
    assert (share / "config").resolve() == ROOT / "config"
    for name in ("detector_node", "bag_player"):
        assert os.access(prefix / "lib/fusion_mamba_ros" / name, os.X_OK)
        assert (prefix / "bin" / name).resolve() == prefix / "lib/fusion_mamba_ros" / name


@built_by_setup
@pytest.mark.parametrize("message_type", sorted(TYPE_HASHES))
def test_stand_in_messages_have_the_type_hash_of_the_original(message_type: str) -> None:
    description = json.loads((VENV / f"share/{message_type}.json").read_text())
    hashes = {entry["type_name"]: entry["hash_string"] for entry in description["type_hashes"]}
    assert hashes[message_type] == TYPE_HASHES[message_type]


@built_by_setup
@pytest.mark.parametrize("package", ["message_filters", "cv_bridge", "vision_msgs", "foxglove_msgs"])
def test_a_sourced_ros_wins_over_the_underlay(package: str, tmp_path: Path) -> None:
    assert Path(run_python(f"import {package}; print({package}.__file__)", tmp_path)).exists()
    (tmp_path / "ros" / package).mkdir(parents=True)
    (tmp_path / "ros" / package / "__init__.py").write_text("")
    found = run_python(f"import {package}; print({package}.__file__)", tmp_path, PYTHONPATH=str(tmp_path / "ros"))
    assert Path(found).is_relative_to(tmp_path)


def test_a_missing_compiler_is_named(tmp_path: Path) -> None:
    sentence = stopped_with(run_setup(tmp_path / "venv", CC="no-such-compiler"))
    assert "no-such-compiler" in sentence
    assert "install" in sentence


def test_a_python_that_is_too_old_is_named(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    sentence = stopped_with(run_setup(tmp_path / "venv", PYTHON=str(old)))
    assert str(old) in sentence
    assert "3.10 to 3.13" in sentence


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "venv"
    theirs.mkdir()
    (theirs / "work.txt").write_text("mine")
    assert str(theirs) in stopped_with(run_setup(theirs))
    assert [path.name for path in theirs.iterdir()] == ["work.txt"]


def test_an_environment_of_another_checkout_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "other" / "tools" / "setup.sh"
    other.parent.mkdir(parents=True)
    other.touch()
    state = tmp_path / "venv" / ".setup"
    (tmp_path / "venv" / "lib").mkdir(parents=True)
    state.mkdir()
    (state / "python").write_text("hash of a python\n")
    (state / "checkout").write_text(f"{tmp_path / 'other'}\n")
    assert f"belongs to the checkout {tmp_path / 'other'}" in stopped_with(run_setup(tmp_path / "venv"))
    assert (tmp_path / "venv" / "lib").is_dir()
    assert (state / "checkout").read_text() == f"{tmp_path / 'other'}\n"


def test_an_unknown_distribution_is_named_before_anything_is_made(tmp_path: Path) -> None:
    sentence = stopped_with(run_setup(tmp_path / "venv", FUSION_MAMBA_ROS="iron"))
    assert "FUSION_MAMBA_ROS is 'iron': expected jazzy or kilted" in sentence
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("held", [None, "jazzy", "kilted"])
def test_an_environment_keeps_its_distribution(tmp_path: Path, held: str | None) -> None:
    state = tmp_path / "venv" / ".setup"
    state.mkdir(parents=True)
    (state / "python").write_text("hash of a python\n")
    if held is not None:
        (state / "distribution").write_text(f"{held}\n")
    other = "jazzy" if held == "kilted" else "kilted"
    sentence = stopped_with(run_setup(tmp_path / "venv", FUSION_MAMBA_ROS=other))
    assert f"holds ROS 2 {held or 'jazzy'}, FUSION_MAMBA_ROS asks for {other}" in sentence
    assert (state / "python").read_text() == "hash of a python\n"


@pytest.mark.parametrize("distribution", ["jazzy", "kilted"])
def test_a_new_environment_gets_the_wheels_of_its_distribution(tmp_path: Path, distribution: str) -> None:
    offline = dict.fromkeys(("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"), "")
    offline |= {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    result = run_setup(tmp_path / "venv", FUSION_MAMBA_ROS=distribution, **offline)
    assert f"ROS 2 {distribution.capitalize()} wheels ..." in result.stdout
    assert f"ros-{distribution}-rclpy" in (tmp_path / "venv/.setup/setup.log").read_text()
    # Without the variable it goes on with the distribution that it began with.
    again = run_setup(tmp_path / "venv", FUSION_MAMBA_ROS="", **offline)
    assert f"ROS 2 {distribution.capitalize()} wheels ..." in again.stdout


def test_a_full_disk_is_noticed_before_anything_is_loaded(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "df").write_text("#!/bin/sh\necho header\necho disk 100 90 10 90% /\n")
    (tools / "df").chmod(0o755)
    sentence = stopped_with(run_setup(tmp_path / "venv", PATH=f"{tools}:{os.environ['PATH']}"))
    assert "10 MB are available" in sentence
    assert not (tmp_path / "venv/bin").exists()


def test_without_a_network_it_says_so_and_keeps_what_it_has(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    offline = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PIP_NO_CACHE_DIR": "1",
        "PIP_RETRIES": "0",
    }
    assert "network" in stopped_with(run_setup(venv, **offline))
    again = run_setup(venv, **offline)
    assert "network" in stopped_with(again)
    assert "Python environment" not in again.stdout
    assert "ROS 2 Jazzy wheels ..." in again.stdout
