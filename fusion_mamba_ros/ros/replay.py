# SPDX-License-Identifier: Apache-2.0
"""Replay a bag through a detector node, each a process of its own over real DDS, and record what the node publishes."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rclpy
import yaml
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from vision_msgs.msg import Detection2DArray, LabelInfo

from fusion_mamba_ros.evaluation.bag_reading import IMAGE_TYPES, Bag, BagError
from fusion_mamba_ros.evaluation.replay_report import ThermalView
from fusion_mamba_ros.msg import FusionStatus
from fusion_mamba_ros.perception.checkpoint import read_metadata
from fusion_mamba_ros.ros.bag_recorder import BagRecorder
from fusion_mamba_ros.ros.parameters import SPECS, DetectorParameters
from fusion_mamba_ros.ros.predictor_loading import homography_of, thermal_scaling_of

DETECTOR, STATUS = "detector_node", "detector_node/status"

_START_SEC = 60.0
_CONFIGURE_SEC = 180.0
_FIRST_STATUS_SEC = 15.0
_SETTLE_SEC = 20.0
_PLAYER_GRACE_SEC = 60.0
_STOP_SEC = 5.0
_TIMEOUTS = ("pairing.timeout_sec", "thermal.freeze_timeout_sec")
# As the installed executables do; those lie elsewhere on each kind of machine.
_RUN = "import sys; from fusion_mamba_ros.ros.{module} import main; sys.exit(main())"


class ReplayError(RuntimeError):
    """A replay that did not come to its end; the message is one sentence."""


@dataclass(frozen=True)
class ReplayOptions:
    """How a bag is replayed.

    ``rate`` of the recorded speed; ``parameters`` of the node by name, as text; ``logs`` is the folder for the output
    of both processes.
    """

    checkpoint: Path
    logs: Path
    rate: float = 1.0
    rgb_topic: str = "/rgb/image_raw"
    thermal_topic: str = "/thermal/image_raw"
    parameters: Mapping[str, str] = field(default_factory=dict)


def replay(
    bag_path: Path,
    recording: Path,
    options: ReplayOptions,
    *,
    on_progress: Callable[[FusionStatus], None] = lambda status: None,
) -> FusionStatus:
    """Play the bag into a node, record `detections`, `label_info` and the status to ``recording``.

    Returns the last status: every frame that reached the node is in one of its counters. ``on_progress`` is called for
    each status. Raises `BagError` or `ReplayError`; the processes have ended by then, whatever happened. No step waits
    without limit.
    """
    with Bag(bag_path) as bag:
        bag.require([options.rgb_topic, options.thermal_topic], IMAGE_TYPES)
        frames = tuple(bag.topics[topic].count for topic in (options.rgb_topic, options.thermal_topic))
        duration_sec = bag.duration_ns / 1e9 / options.rate
        compressed = _are_compressed(bag, options.rgb_topic, options.thermal_topic)
    arguments = _node_arguments(options, compressed)
    with (
        _observe(recording, on_progress) as observer,
        _process("detector_node", arguments, options.logs) as detector,
    ):
        observer.bring_up(detector)
        player_arguments = [
            str(bag_path), "--rate", f"{options.rate:g}", "--topics", options.rgb_topic, options.thermal_topic,
            "--wait-for-subscribers", "30", "--require-subscribers",
        ]  # fmt: skip
        with _process("bag_player", player_arguments, options.logs) as player:
            done = lambda: player.poll() is not None or detector.poll() is not None  # noqa: E731
            if not observer.spin_until(done, duration_sec + _PLAYER_GRACE_SEC):
                raise ReplayError(f"bag_player did not end {_PLAYER_GRACE_SEC:g} s after the end of the bag")
            detector.require_alive()
            player.require_success()
        observer.spin_until(lambda: observer.settled(*frames), _SETTLE_SEC)
        detector.require_alive()
    if observer.last_status is None:
        raise ReplayError("the detector node sent no status: see its log")
    return observer.last_status


def thermal_view_of(options: ReplayOptions) -> ThermalView:
    """Return how the node of such a replay sees the thermal camera. Raises ``ValueError`` as the node would refuse."""
    values = {spec.name: spec.default for spec in SPECS}
    values |= {name: yaml.safe_load(text) for name, text in options.parameters.items() if name in values}
    parameters = DetectorParameters.from_values(values)
    _, metadata = read_metadata(options.checkpoint)
    return ThermalView(
        homography_of(parameters, metadata),
        thermal_scaling_of(parameters, metadata),
        parameters.pairing_thermal_offset_sec,
    )


class Process:
    """A child process of this package, whose output goes to a file."""

    def __init__(self, module: str, arguments: list[str], logs: Path) -> None:
        self.module, self.log = module, logs / f"{module}.log"
        with self.log.open("wb") as output:
            self._child = subprocess.Popen(
                [sys.executable, "-c", _RUN.format(module=module), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def poll(self) -> int | None:
        """Return the exit code, None while the process runs."""
        return self._child.poll()

    def require_alive(self) -> None:
        """Raise `ReplayError` if the process has ended."""
        code = self.poll()
        if code is not None:
            raise ReplayError(f"{self.module} ended with code {code}: {self.last_line()}")

    def require_success(self) -> None:
        """Raise `ReplayError` unless the process has ended with code 0."""
        code = self.poll()
        if code != 0:
            raise ReplayError(f"{self.module} ended with code {code}: {self.last_line()}")

    def last_line(self) -> str:
        """Return what the process said last, for an error message."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        said = [line for line in lines if "ERROR" in line or "failed" in line] or lines
        return re.sub(r"^\[\w+\] \[[\d.]+\] \[[^\]]*\]: ", "", said[-1]) if said else f"no output in {self.log}"

    def stop(self) -> None:
        """End the process, politely first; returns in bounded time."""
        for request in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self.poll() is not None:
                return
            self._child.send_signal(request)
            try:
                self._child.wait(_STOP_SEC)
            except subprocess.TimeoutExpired:
                continue


@contextmanager
def _process(module: str, arguments: list[str], logs: Path) -> Iterator[Process]:
    process = Process(module, arguments, logs)
    try:
        yield process
    finally:
        process.stop()


@contextmanager
def _observe(recording: Path, on_progress: Callable[[FusionStatus], None]) -> Iterator[_Observer]:
    rclpy.init()
    try:
        observer = _Observer(recording, on_progress)
        try:
            yield observer
        finally:
            observer.close()
    finally:
        rclpy.try_shutdown()


def _are_compressed(bag: Bag, rgb_topic: str, thermal_topic: str) -> bool:
    """Return whether the topics hold compressed images. Raises `BagError` if the node cannot subscribe to both."""
    rgb, thermal = (bag.topics[name].message_type for name in (rgb_topic, thermal_topic))
    if rgb != thermal:
        raise BagError(
            f"'{rgb_topic}' of bag '{bag.path}' holds {rgb}, '{thermal_topic}' holds {thermal}: "
            "the node takes both raw or both compressed, name two topics of one kind"
        )
    compressed = rgb.endswith("CompressedImage")
    for name in (rgb_topic, thermal_topic):
        if compressed and not name.endswith("/compressed"):
            raise BagError(
                f"'{name}' of bag '{bag.path}' holds {rgb}: "
                "the node takes these from topics that end in /compressed, record or rename it so"
            )
    return compressed


def _node_arguments(options: ReplayOptions, compressed: bool) -> list[str]:
    rgb, thermal = options.rgb_topic, options.thermal_topic
    if compressed:
        # The node itself adds the suffix to the topic's base name.
        rgb, thermal = rgb.removesuffix("/compressed"), thermal.removesuffix("/compressed")
    # Played slowly, pictures come further apart on the clock by which the node calls a camera missing or frozen.
    slowness = max(1.0, 1 / options.rate)
    timeouts = {
        spec.name: f"{min(spec.maximum or math.inf, slowness * spec.default):g}"
        for spec in SPECS
        if spec.name in _TIMEOUTS
    }
    parameters = {
        "checkpoint": str(options.checkpoint),
        "image_transport": "compressed" if compressed else "raw",
        **timeouts,
        **options.parameters,
    }
    arguments = ["--ros-args", "-r", f"rgb/image_raw:={rgb}", "-r", f"thermal/image_raw:={thermal}"]
    for name, value in parameters.items():
        arguments += ["-p", f"{name}:={value}"]
    return arguments


class _Observer:
    """Brings the node up, records what it publishes, and knows when all is done."""

    def __init__(self, recording: Path, on_progress: Callable[[FusionStatus], None]) -> None:
        self.last_status: FusionStatus | None = None
        self._on_progress = on_progress
        self._node: Node = rclpy.create_node("replay_observer")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._change_state = self._node.create_client(ChangeState, f"{DETECTOR}/change_state")
        topics = {"detections": Detection2DArray, "label_info": LabelInfo, STATUS: FusionStatus}
        self._recorder = BagRecorder(
            self._node, recording, topics, latched=("label_info",), on_message=self._on_message
        )

    def close(self) -> None:
        """Finish the recording."""
        self._recorder.close()
        self._executor.shutdown(timeout_sec=_STOP_SEC)
        self._node.destroy_node()

    def bring_up(self, detector: Process) -> None:
        """Configure and activate the node, and wait for its first status."""
        if not self._wait(self._change_state.service_is_ready, _START_SEC, detector):
            raise ReplayError(f"{DETECTOR} did not start within {_START_SEC:g} s: {detector.last_line()}")
        for transition, limit_sec in (
            (Transition.TRANSITION_CONFIGURE, _CONFIGURE_SEC),
            (Transition.TRANSITION_ACTIVATE, _START_SEC),
        ):
            request = ChangeState.Request(transition=Transition(id=transition))
            answer = self._change_state.call_async(request)
            if not self._wait(answer.done, limit_sec, detector):
                raise ReplayError(f"{DETECTOR} did not answer within {limit_sec:g} s: {detector.last_line()}")
            result: Any = answer.result()
            if not result.success:
                raise ReplayError(f"{DETECTOR}: {detector.last_line()}")
        if not self._wait(lambda: self.last_status is not None, _FIRST_STATUS_SEC, detector):
            raise ReplayError(f"{DETECTOR} sent no status within {_FIRST_STATUS_SEC:g} s")

    def settled(self, rgb_frames: int, thermal_frames: int) -> bool:
        """Say whether every frame has arrived and come to its end, and every array has been recorded."""
        status = self.last_status
        if status is None or status.rgb.waiting or status.thermal.waiting:
            return False
        arrived = status.rgb.received >= rgb_frames and status.thermal.received >= thermal_frames
        return arrived and self._recorder.counts[self._node.resolve_topic_name("detections")] >= status.published

    def spin_until(self, condition: Callable[[], bool], limit_sec: float) -> bool:
        """Handle messages until ``condition`` holds; return whether it does within ``limit_sec``."""
        deadline = time.monotonic() + limit_sec
        while not condition():
            if time.monotonic() >= deadline:
                return False
            if not rclpy.ok():
                raise KeyboardInterrupt
            self._executor.spin_once(timeout_sec=0.1)
        return True

    def _wait(self, condition: Callable[[], bool], limit_sec: float, process: Process) -> bool:
        met = self.spin_until(lambda: condition() or process.poll() is not None, limit_sec)
        process.require_alive()
        return met

    def _on_message(self, topic: str, message: object) -> None:
        if isinstance(message, FusionStatus):
            self.last_status = message
            self._on_progress(message)


def use_large_image_transport() -> None:
    """Make Fast DDS carry whole images between processes of this machine, unless the user has chosen a profile."""
    from ament_index_python.packages import get_package_share_directory

    profile = Path(get_package_share_directory("fusion_mamba_ros")) / "config" / "fastdds_large_images.xml"
    os.environ.setdefault("FASTRTPS_DEFAULT_PROFILES_FILE", str(profile))
