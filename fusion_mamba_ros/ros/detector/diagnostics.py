# SPDX-License-Identifier: Apache-2.0
"""Publish `/diagnostics` once a second.

The timer uses the steady clock, because simulated time may never start, may stop or may jump.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode

from fusion_mamba_ros.perception.process_memory import peak_resident_mb, resident_mb
from fusion_mamba_ros.ros.detector.camera_health import camera_status
from fusion_mamba_ros.ros.detector.clock_watch import ClockWatch
from fusion_mamba_ros.ros.detector.detection_session import DetectionSession
from fusion_mamba_ros.ros.detector.frame_counters import FrameCounters
from fusion_mamba_ros.ros.detector.further_images import FurtherState
from fusion_mamba_ros.ros.detector.health import Observation, Status
from fusion_mamba_ros.ros.detector.inference_health import inference_status
from fusion_mamba_ros.ros.detector.output_health import output_status
from fusion_mamba_ros.ros.detector.pair_names import ONE_PAIR, PairNames
from fusion_mamba_ros.ros.detector.pair_processor import DetectionSource
from fusion_mamba_ros.ros.detector.pairing_health import pairing_status
from fusion_mamba_ros.streams.frames import Camera

PERIOD_SEC = 1.0
_TICKS_PER_ESTIMATE = 5


class Diagnostics:
    """Report the health of a camera pair of a configured node, and of its session while the node is active.

    ``turns`` is the number of camera pairs for each inference thread. The same timer publishes `~/status` while no
    array is published, and lets subscriptions adopt the QoS of their publishers.
    """

    def __init__(
        self,
        node: LifecycleNode,
        predictor: DetectionSource,
        *,
        names: PairNames = ONE_PAIR,
        turns: float = 1.0,
        steady_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._node = node
        self._predictor = predictor
        self._names = names
        self._turns = turns
        self._steady_ns = steady_ns
        self._clock_watch = ClockWatch()
        self._session: DetectionSession | None = None
        self._previous: dict[Camera, FrameCounters] = {}
        self._previous_further: Mapping[str, FurtherState] = {}
        self._previous_published = 0
        self._logged_missing: frozenset[Camera] = frozenset()
        self._ticks = 0
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._timer = node.create_timer(PERIOD_SEC, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def watch(self, session: DetectionSession | None) -> None:
        """Report on ``session`` from now on. None means that the node is inactive."""
        self._session = session
        self._previous = {camera: FrameCounters() for camera in Camera}
        self._previous_further = {}
        self._previous_published = 0
        self._logged_missing = frozenset()

    def close(self) -> None:
        """Stop reporting."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)

    def _tick(self) -> None:
        session = self._session
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        seen = self._observe()
        self._previous = dict(seen.counters)
        self._previous_further = seen.further
        cameras = camera_status(seen)
        statuses = (cameras, pairing_status(seen), inference_status(seen, self._figures()), output_status(seen))
        message.status = [self._message(status) for status in statuses]
        self._publisher.publish(message)
        if session is not None:
            self._log_missing(frozenset(seen.missing), cameras)
            session.follow_publishers()
            self._ticks += 1
            if self._ticks % _TICKS_PER_ESTIMATE == 0:
                session.estimate_clock_offset()
            published = session.counters()[1]
            if published == self._previous_published:
                session.publish_idle_status()
            self._previous_published = published

    def _log_missing(self, missing: frozenset[Camera], cameras: Status) -> None:
        """Log once when a camera goes missing and once when it is back.

        The log reaches users who do not read diagnostics.
        """
        if missing == self._logged_missing:
            return
        self._logged_missing = missing
        if missing:
            self._node.get_logger().warning(self._names.sentence(cameras.message))
        else:
            self._node.get_logger().info(self._names.sentence("both cameras deliver"))

    def _observe(self) -> Observation:
        session = self._session
        now_ns, steady_ns = int(self._node.get_clock().now().nanoseconds), self._steady_ns()
        clock_stopped_sec = self._clock_watch.stopped_sec(now_ns, steady_ns)
        if session is None:
            return Observation()
        parameters = session.parameters
        return Observation(
            active=True,
            clock_runs=now_ns > 0,
            clock_stopped_sec=clock_stopped_sec,
            steady_ns=steady_ns,
            active_since_ns=session.started_ns,
            absences=session.absences(),
            counters=session.counters()[0],
            previous=self._previous,
            further=session.further_states(),
            previous_further=self._previous_further,
            rectification=session.rectification_states(),
            refusals=session.refusals.recent(),
            clock_jumps=session.clock_jumps(),
            summary=session.statistics.summary(steady_ns),
            inference=session.processor.monitor.observe(),
            missing_modality=parameters.missing_modality,
            pairing_timeout_sec=parameters.pairing_timeout_sec,
            max_offset_sec=parameters.pairing_max_offset_sec,
            thermal_offset_sec=parameters.pairing_thermal_offset_sec,
            estimated_thermal_offset_sec=session.estimated_thermal_offset_sec(),
            inference_timeout_sec=parameters.inference_timeout_sec,
            turns=self._turns,
        )

    def _figures(self) -> dict[str, Any]:
        device = self._predictor.device
        figures: dict[str, Any] = {
            "device": device,
            "engine": self._predictor.engine_description,
            "memory of the process (MB)": resident_mb(),
            "memory of the process, peak (MB)": peak_resident_mb(),
        }
        figures |= self._predictor.memory_mb()
        modes: Mapping[str, Any] = self._predictor.metadata.metrics.get("modes", {})
        for mode in self._predictor.modes:
            measured = modes.get(mode.value, {})
            figures[f"mAP50 {mode.value}"] = measured.get("mAP50", "not measured")
            figures[f"mAP {mode.value}"] = measured.get("mAP", "not measured")
        return figures

    def _message(self, status: Status) -> DiagnosticStatus:
        values = [KeyValue(key=name, value=_text(value)) for name, value in status.values.items()]
        return DiagnosticStatus(
            level=bytes([status.level]),
            name=f"{self._names.subject(self._node.get_fully_qualified_name().lstrip('/'))}: {status.subject}",
            message=status.message,
            hardware_id=str(self._predictor.device),
            values=values,
        )


def _text(value: Any) -> str:
    if value is None:
        return "unknown"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
