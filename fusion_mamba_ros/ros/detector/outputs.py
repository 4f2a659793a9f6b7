# SPDX-License-Identifier: Apache-2.0
"""Publish the output topics of the node."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import cv_bridge
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QosCallbackResult, QoSOverridingOptions
from rclpy.timer import Timer
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray, LabelInfo

from fusion_mamba_ros.msg import FusionStatus
from fusion_mamba_ros.perception.drawing import draw_pair
from fusion_mamba_ros.perception.registration import Homography
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling
from fusion_mamba_ros.ros.detector.message_conversion import detection_array, label_info
from fusion_mamba_ros.ros.detector.overlay_outputs import OverlayOutputs
from fusion_mamba_ros.ros.detector.pair_names import ONE_PAIR, PairNames
from fusion_mamba_ros.ros.detector.result import Result
from fusion_mamba_ros.ros.detector.subscription_qos import MAX_DEPTH


def _judge_qos(profile: QoSProfile) -> QosCallbackResult:
    """Refuse a depth that DDS would refuse: the error message of DDS names neither parameter nor topic."""
    result = QosCallbackResult()
    result.successful = 1 <= profile.depth <= MAX_DEPTH
    if not result.successful:
        result.reason = f"depth is {profile.depth}, expected 1 to {MAX_DEPTH}"
    return result


_CLOCK_POLL_SEC = 0.1


class Outputs:
    """Publishers of `detections`, `label_info`, `debug_image`, `~/status` and the overlays.

    They are usable from the inference thread.
    """

    def __init__(
        self,
        node: LifecycleNode,
        class_names: Sequence[str],
        scaling: ThermalScaling,
        homography: Homography,
        *,
        names: PairNames = ONE_PAIR,
        steady_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._node = node
        self._steady_ns = steady_ns
        self._class_names = tuple(class_names)
        self._class_indices = tuple(str(index) for index in range(len(class_names)))
        self._scaling = scaling
        self._homography = homography
        self._bridge = cv_bridge.CvBridge()
        overrides = {"qos_overriding_options": QoSOverridingOptions.with_default_policies(callback=_judge_qos)}
        latched = QoSProfile(
            depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
        )
        self._detections = node.create_lifecycle_publisher(Detection2DArray, names.topic("detections"), 10, **overrides)
        self._debug_image = node.create_lifecycle_publisher(Image, names.topic("debug_image"), 2, **overrides)
        self._overlays = OverlayOutputs(node, class_names, homography, overrides, names=names)
        self._status = node.create_lifecycle_publisher(FusionStatus, names.topic("~/status"), 10)
        # Not a lifecycle publisher: the latched message must reach late subscribers while the node is inactive.
        self._label_info = node.create_publisher(LabelInfo, names.topic("label_info"), latched)
        self._label_timer: Timer | None = None

    def close(self) -> None:
        """Destroy the publishers."""
        for publisher in (self._detections, self._debug_image, self._status):
            self._node.destroy_lifecycle_publisher(publisher)
        self._overlays.close()
        self._node.destroy_publisher(self._label_info)
        self._stop_label_timer()

    def publish_labels(self, threshold: float) -> None:
        """Publish the class names and the score threshold.

        If simulated time has not started yet, publish them again once it runs: subscribers order these messages by
        stamp, and a stamp of zero means "not set".
        """
        self._stop_label_timer()
        now = self._node.get_clock().now()
        self._label_info.publish(label_info(self._class_names, threshold=threshold, stamp=now.to_msg()))
        if now.nanoseconds == 0:
            self._label_timer = self._node.create_timer(
                _CLOCK_POLL_SEC,
                lambda: self._republish_labels(threshold),
                clock=Clock(clock_type=ClockType.STEADY_TIME),
            )

    def _republish_labels(self, threshold: float) -> None:
        if self._node.get_clock().now().nanoseconds > 0:
            self.publish_labels(threshold)

    def _stop_label_timer(self) -> None:
        if self._label_timer is not None:
            self._node.destroy_timer(self._label_timer)
            self._label_timer = None

    def publish_detections(self, result: Result, *, class_id_format: str) -> FusionStatus:
        """Publish the array of ``result``. Return its status without the counters, which the caller fills in."""
        inferred_ns = self._steady_ns()
        self._detections.publish(detection_array(result.detections, result.header, self._class_ids(class_id_format)))
        published_ns = self._steady_ns()
        status = FusionStatus(header=result.header, mode=result.mode.value)
        status.pair_offset_sec = math.nan if result.offset_ns is None else result.offset_ns * 1e-9
        status.age_sec = (published_ns - result.arrived_ns) * 1e-9
        status.pairing_ms = result.pairing_ms
        status.queue_ms = result.queue_ms
        status.decode_ms = result.decode_ms
        status.inference_ms = result.inference_ms
        status.publish_ms = (published_ns - inferred_ns) * 1e-6
        return status

    def publish_status(self, status: FusionStatus) -> None:
        """Publish the status of the last array on `~/status`."""
        self._status.publish(status)

    def publish_overlays(self, result: Result, *, class_id_format: str) -> None:
        """Publish annotations and the detections in pixels of the thermal image, where they have a subscriber."""
        self._overlays.publish(result, self._class_ids(class_id_format))

    def publish_image(self, result: Result) -> None:
        """Draw and publish the debug image if it has a subscriber."""
        if self._debug_image.get_subscription_count() == 0:
            return
        image = draw_pair(
            result.images.get("rgb"),
            result.images.get("thermal"),
            result.seen,
            self._class_names,
            scaling=self._scaling,
            homography=self._homography,
            reference_size=result.reference_size,
        )
        message = self._bridge.cv2_to_imgmsg(image, encoding="rgb8", header=result.header)
        self._debug_image.publish(message)

    def _class_ids(self, class_id_format: str) -> Sequence[str]:
        return self._class_names if class_id_format == "name" else self._class_indices
