# SPDX-License-Identifier: Apache-2.0
"""A node as a process: what its command line may say, and how it refuses the rest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from detector_graph import DetectorProcess, isolate, wait_until

from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, save_checkpoint
from fusion_mamba_ros.ros.process import ArgumentError, own_arguments

BARE = (
    "from rclpy.node import Node; from fusion_mamba_ros.ros.process import run_node; run_node(lambda _: Node('bare'))"
)
DETECTOR = "from fusion_mamba_ros.ros.detector_node import main; main()"


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    isolate()
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=90)


def test_what_is_for_ros_is_left_out() -> None:
    line = ["node", "drive", "--ros-args", "-p", "rate:=2", "--", "--loop"]
    assert own_arguments(line) == ["drive", "--loop"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--params-file", "/nowhere.yaml"], "'--params-file /nowhere.yaml'. Error: Error opening YAML file: see"),
        (["-p", "score_threshold"], "Couldn't parse parameter override rule: '-p score_threshold'"),
        (["-p", "classes:=[a"], "Couldn't parse parameter override rule: '-p classes:=[a'"),
        (["-r", "image"], "Couldn't parse remap rule: '-r image'"),
        (["--bogus"], "ROS knows no argument ['--bogus']"),
    ],
)
def test_ros_arguments_that_cannot_be_read_are_one_sentence(arguments: list[str], words: str) -> None:
    with pytest.raises(ArgumentError) as error:
        own_arguments(["node", "--ros-args", *arguments])
    sentence = str(error.value)
    assert words in sentence and sentence.endswith("see --help")
    assert "\n" not in sentence and ".c:" not in sentence


def test_a_broken_parameter_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("node: [a")
    with pytest.raises(ArgumentError) as error:
        own_arguments(["node", "--ros-args", "--params-file", str(path)])
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("argument", "words"),
    [("no rule", "Couldn't parse parameter override rule"), ("use_sim_time:=5", "expecting type 'BOOL'")],
)
def test_a_node_that_cannot_start_ends_with_code_2_and_without_traceback(argument: str, words: str) -> None:
    ended = run(BARE, "--ros-args", "-p", argument)
    assert ended.returncode == 2
    assert words in ended.stderr and len(ended.stderr.splitlines()) == 1


def test_help_says_what_the_detector_is_and_how_to_start_it() -> None:
    ended = run(DETECTOR, "--help")
    assert ended.returncode == 0, ended.stderr
    for words in ("lifecycle node", "config/detector.yaml", "--ros-args -p checkpoint:="):
        assert words in ended.stdout


def test_an_argument_that_is_for_nobody_is_refused() -> None:
    ended = run(DETECTOR, "checkpoint:=mine.safetensors")
    assert ended.returncode == 2
    assert "unrecognized arguments: checkpoint:=mine.safetensors" in ended.stderr


def test_autostart_goes_to_active_and_the_log_tells_what_it_waits_for(tmp_path: Path) -> None:
    checkpoint = tmp_path / "model.safetensors"
    model = FusionMambaDetector(ModelConfig(classes=1, fusion="add"))
    save_checkpoint(checkpoint, model, CheckpointMetadata(("person",), (64, 64)))
    program = ["-c", DETECTOR, "--autostart"]
    isolate()
    detector = DetectorProcess(program, tmp_path / "log", f"checkpoint:={checkpoint}")
    try:
        wait_until(lambda: "no camera delivers fresh pictures" in detector.log, "the warning")
        assert "active: detecting on /rgb/image_raw and /thermal/image_raw" in detector.log
        assert detector.stop() == 0
    finally:
        detector.kill()
