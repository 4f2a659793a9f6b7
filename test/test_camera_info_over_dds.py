# SPDX-License-Identifier: Apache-2.0
"""camera_info over DDS: published once and kept, or with each image, beside a remapped image topic or elsewhere."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

from detector_graph import OK, WARN, Graph, running_detector, wait_until
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_cameras import RGB_SIZE, THERMAL_SIZE, Cameras
from sensor_msgs.msg import CameraInfo
from stand_in_detector import BOX

from fusion_mamba_ros.perception.detections import Detections
from fusion_mamba_ros.perception.rectification import Rectification
from fusion_mamba_ros.ros.detector.camera_rectification import calibration_of
from fusion_mamba_ros.streams.frames import Camera


def camera_info(shape: tuple[int, int]) -> CameraInfo:
    height, width = shape
    message = CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=[-0.3, 0.05, 0.0, 0.0, 0.0])
    message.k = [60.0, 0.0, width / 2, 0.0, 60.0, height / 2, 0.0, 0.0, 1.0]
    return message


def lens_of(graph: Graph, camera: Camera) -> str:
    status = graph.diagnostics.get("cameras")
    return "" if status is None else {value.key: value.value for value in status.values}[f"{camera.value} lens"]


def is_rectified(graph: Graph, camera: Camera) -> bool:
    return lens_of(graph, camera) == "rectified: plumb_bob"


def test_a_camera_info_that_is_kept_and_one_that_repeats_both_rectify(tmp_path: Path) -> None:
    thermal_info = "thermal.camera_info_topic:=lenses/thermal"
    with running_detector(tmp_path / "log", "checkpoint:=stand-in", thermal_info) as (_, graph):
        kept = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        graph.node.create_publisher(CameraInfo, "rgb/camera_info", kept).publish(camera_info(RGB_SIZE))
        repeats = graph.node.create_publisher(CameraInfo, "lenses/thermal", 5)
        timer = graph.node.create_timer(0.1, lambda: repeats.publish(camera_info(THERMAL_SIZE)))
        cameras = Cameras(graph)
        try:
            for camera in Camera:
                wait_until(partial(is_rectified, graph, camera), f"{camera.value} rectified")
            start = len(graph.arrays)
            wait_until(lambda: len(graph.arrays) > start + 2, "arrays")
            calibration = calibration_of(camera_info(RGB_SIZE))
            assert calibration is not None
            found = graph.arrays[-1].detections[0].bbox
            seen = Detections(np.array([BOX], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))
            x1, y1, x2, y2 = Rectification(calibration).restored(seen).boxes[0].tolist()
            assert (found.center.position.x, found.center.position.y, found.size_x, found.size_y) == pytest.approx(
                ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1), abs=1e-4
            )
            assert (x1, y1, x2, y2) != pytest.approx(BOX, abs=0.2)
            graph.wait_for_health("cameras", OK)
            timer.cancel()
            repeats.publish(camera_info((9, 9)))
            graph.wait_for_health("cameras", WARN, "it is for 9x9 pixels, the image has 56x40")
        finally:
            cameras.close()
