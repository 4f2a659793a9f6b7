# SPDX-License-Identifier: Apache-2.0
"""The node of a replay that activates the detector node and records its output."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import rclpy
from lifecycle_msgs.msg import Transition
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node
from vision_msgs.msg import Detection2DArray, LabelInfo

from fusion_mamba_ros.msg import FusionStatus
from fusion_mamba_ros.ros.bag_tools.bag_recorder import BagRecorder
from fusion_mamba_ros.ros.bag_tools.child_process import ChildProcess, ReplayError
from fusion_mamba_ros.ros.bag_tools.lifecycle_client import LifecycleClient
from fusion_mamba_ros.ros.bag_tools.service_client import ServiceError

DETECTOR, STATUS = "detector_node", "detector_node/status"
TOPICS = {"detections": Detection2DArray, "label_info": LabelInfo, STATUS: FusionStatus}

_START_SEC = 60.0
_CONFIGURE_SEC = 180.0
_FIRST_STATUS_SEC = 15.0
_STOP_SEC = 5.0


def spin_executor_until(executor: Executor, condition: Callable[[], bool], limit_sec: float) -> bool:
    """Spin ``executor`` until ``condition`` holds. Return whether it held within ``limit_sec``.

    Raises ``KeyboardInterrupt`` if a signal has ended the context.
    """
    deadline = time.monotonic() + limit_sec
    while not condition():
        if time.monotonic() >= deadline:
            return False
        if not executor.context.ok():
            raise KeyboardInterrupt
        executor.spin_once(timeout_sec=0.1)
    return True


class ReplayObserver:
    """Activate the detector node, record `TOPICS`, and detect when every frame has been processed."""

    def __init__(self, recording: Path, on_progress: Callable[[FusionStatus], None]) -> None:
        self.last_status: FusionStatus | None = None
        self._on_progress = on_progress
        self._detector: ChildProcess | None = None
        self._node: Node = rclpy.create_node("replay_observer")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._lifecycle = LifecycleClient(self._node, DETECTOR, self._wait)
        self._recorder = BagRecorder(self._node, recording, TOPICS, on_message=self._on_message)

    def close(self) -> None:
        """Finish the recording."""
        self._recorder.close()
        self._lifecycle.close()
        self._executor.shutdown(timeout_sec=_STOP_SEC)
        self._node.destroy_node()

    def bring_up(self, detector: ChildProcess) -> None:
        """Configure and activate the node, and wait until all topics are being recorded. Raises `ReplayError`."""
        self._detector = detector
        try:
            self._lifecycle.wait_for_node(_START_SEC)
            for transition, limit_sec in (
                (Transition.TRANSITION_CONFIGURE, _CONFIGURE_SEC),
                (Transition.TRANSITION_ACTIVATE, _START_SEC),
            ):
                if not self._lifecycle.change_state(transition, limit_sec):
                    raise ReplayError(f"{DETECTOR}: {detector.last_line()}")
        except ServiceError as error:
            raise ReplayError(f"{error}: {detector.last_line()}") from error
        if not self._wait(lambda: not self._recorder.waiting, _FIRST_STATUS_SEC):
            topics = ", ".join(self._recorder.waiting)
            raise ReplayError(f"{DETECTOR} did not advertise {topics} within {_FIRST_STATUS_SEC:g} s")
        if not self._wait(lambda: self.last_status is not None, _FIRST_STATUS_SEC):
            raise ReplayError(f"{DETECTOR} sent no status within {_FIRST_STATUS_SEC:g} s")

    def all_processed(self, rgb_frames: int, thermal_frames: int) -> bool:
        """Return whether every frame has been received and processed and every array has been recorded."""
        status = self.last_status
        if status is None or status.rgb.waiting or status.thermal.waiting:
            return False
        arrived = status.rgb.received >= rgb_frames and status.thermal.received >= thermal_frames
        topic = self._node.resolve_topic_name("detections")
        return bool(arrived and self._recorder.counts[topic] >= status.published)

    def spin_until(self, condition: Callable[[], bool], limit_sec: float) -> bool:
        """Handle messages until ``condition`` holds. Return whether it held within ``limit_sec``."""
        return spin_executor_until(self._executor, condition, limit_sec)

    def _wait(self, condition: Callable[[], bool], limit_sec: float) -> bool:
        detector = self._detector
        if detector is None:
            return self.spin_until(condition, limit_sec)
        met = self.spin_until(lambda: condition() or detector.poll() is not None, limit_sec)
        detector.require_alive()
        return met

    def _on_message(self, topic: str, message: object) -> None:
        if isinstance(message, FusionStatus):
            self.last_status = message
            self._on_progress(message)


@contextmanager
def observe(recording: Path, on_progress: Callable[[FusionStatus], None]) -> Iterator[ReplayObserver]:
    """Initialise ROS and yield an observer that records into the new bag ``recording``."""
    rclpy.init()
    try:
        observer = ReplayObserver(recording, on_progress)
        try:
            yield observer
        finally:
            observer.close()
    finally:
        rclpy.try_shutdown()
