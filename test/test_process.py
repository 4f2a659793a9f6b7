# SPDX-License-Identifier: Apache-2.0
"""A node as a process: what its command line may say, and how it refuses the rest."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from detector_graph import DetectorProcess, Graph, isolate, wait_until

from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, save_checkpoint
from fusion_mamba_ros.ros.process import ArgumentError, own_arguments

BARE = (
    "from rclpy.node import Node; from fusion_mamba_ros.ros.process import run_node; run_node(lambda _: Node('bare'))"
)
LIFECYCLE = """
from rclpy.lifecycle import LifecycleNode
from fusion_mamba_ros.ros.process import run_node
def create(_):
    node = LifecycleNode("bare")
    node.get_logger().info("created")
    return node
run_node(create)
"""
SIGNALLED = """
import os, signal, time
from rclpy.lifecycle import LifecycleNode
from fusion_mamba_ros.ros.process import run_node
def create(_):
    os.kill(os.getpid(), signal.{name})
    time.sleep(0.5)
    return LifecycleNode("bare")
run_node(create)
"""
FAILING = """
from rclpy.node import Node
from fusion_mamba_ros.ros.process import run_node
def create(_):
    node = Node("failing")
    node.create_timer(0.001, lambda: 1 / 0)
    return node
run_node(create)
"""
HALF_FAILING = """
from rclpy.node import Node
from fusion_mamba_ros.ros.process import run_node
def create(_):
    node, rounds = Node("half_failing"), []
    def work():
        rounds.append(1)
        if len(rounds) == 400:
            node.get_logger().info("400 rounds of work")
    node.create_timer(0.002, work)
    node.create_timer(0.002, lambda: 1 / 0)
    return node
run_node(create)
"""
DETECTOR = "from fusion_mamba_ros.ros.detector.detector_node import main; main()"


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
    # Fast DDS 3 warns of the variable that names its profile for Fast DDS 2.
    said = [line for line in ended.stderr.splitlines() if "[rmw_fastrtps_shared_cpp]" not in line]
    assert len(said) == 1 and words in said[0]


def refuses_to_start(ended: subprocess.CompletedProcess[str]) -> None:
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    sentence = ended.stderr.splitlines()[-1]
    assert sentence.startswith("-c: ROS cannot start: ") and "set HOME, ROS_HOME or ROS_LOG_DIR" in sentence


def test_without_a_home_ros_cannot_start_and_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "ROS_HOME", "ROS_LOG_DIR"):
        monkeypatch.delenv(name, raising=False)
    refuses_to_start(run(BARE))


def test_without_a_log_folder_ros_cannot_start_and_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "file" / "log"))
    refuses_to_start(run(BARE))


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_before_the_node_exists_is_a_stop(name: str) -> None:
    ended = run(SIGNALLED.format(name=name))
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_node_of_which_nothing_works_ends_with_code_1_and_a_short_log() -> None:
    ended = run(FAILING)
    assert ended.returncode == 1, ended.stderr
    assert "the last 100 callbacks have all failed" in ended.stderr
    assert 1 <= ended.stderr.count("callback failed with ZeroDivisionError") < 100


def test_a_callback_that_always_fails_beside_one_that_works_costs_a_short_log_only(tmp_path: Path) -> None:
    isolate()
    process = DetectorProcess(["-c", HALF_FAILING], tmp_path / "log")
    try:
        # As many failures as work: far more than the hundred in a row that would end the process.
        wait_until(lambda: "400 rounds of work" in process.log, "the work")
        assert process.process.poll() is None
        assert process.stop() == 0
        assert 1 <= process.log.count("callback failed with ZeroDivisionError") < 50
        assert "have all failed" not in process.log
    finally:
        process.kill()


def test_twenty_restarts_leave_no_shared_memory_and_no_node(tmp_path: Path) -> None:
    isolate()
    graph = Graph()
    processes: list[DetectorProcess] = []
    try:
        for number in (signal.SIGINT, signal.SIGTERM) * 2:
            batch = [DetectorProcess(["-c", LIFECYCLE], tmp_path / f"{len(processes)}-{i}.log") for i in range(5)]
            processes += batch
            for process in batch:
                wait_until(lambda process=process: "created" in process.log, "a node")  # type: ignore[misc]
            segments: set[Path] = set().union(*(process.shared_memory() for process in batch))
            assert len(segments) >= len(batch)
            assert [process.stop(number) for process in batch] == [0] * 5
            assert not [path for path in segments if path.exists()]
        # A node whose participant was left behind stays for the 20 s of its lease.
        wait_until(lambda: "bare" not in graph.node.get_node_names(), "a graph without the nodes", seconds=10)
    finally:
        for process in processes:
            process.kill()
        graph.close()


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
        wait_until(lambda: "no camera delivers fresh images" in detector.log, "the warning")
        assert "active: detecting on /rgb/image_raw and /thermal/image_raw" in detector.log
        assert detector.stop() == 0
    finally:
        detector.kill()
