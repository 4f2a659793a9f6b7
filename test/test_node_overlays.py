# SPDX-License-Identifier: Apache-2.0
"""Overlays over DDS: each has the stamp of an image that was sent, in every mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from detector_graph import running_detector, wait_until
from ros_cameras import Cameras
from vision_msgs.msg import Detection2DArray

from fusion_mamba_ros.ros.detector.annotation_conversion import ImageAnnotations
from fusion_mamba_ros.ros.detector.message_conversion import to_nanoseconds
from fusion_mamba_ros.streams.frames import Camera

pytestmark = pytest.mark.skipif(ImageAnnotations is None, reason="foxglove_msgs is not installed: it is optional")

# Thermal to RGB: the thermal image covers a part of the RGB image.
HOMOGRAPHY = "registration.homography:=[0.5, 0.0, 0.2, 0.0, 0.5, 0.1, 0.0, 0.0, 1.0]"
OFFSET = "pairing.thermal_offset_sec:=0.011"


def test_overlays_have_the_stamps_of_their_images_through_a_freeze_and_the_loss_of_rgb(tmp_path: Path) -> None:
    with running_detector(tmp_path / "log", "checkpoint:=stand-in", HOMOGRAPHY, OFFSET) as (_, graph):
        arrays: list[Detection2DArray] = []
        drawn: dict[str, list[Any]] = {"annotations": [], "annotations_thermal": []}
        graph.node.create_subscription(Detection2DArray, "detections_thermal", arrays.append, 1000)
        for topic, messages in drawn.items():
            graph.node.create_subscription(ImageAnnotations, f"detector_node/{topic}", messages.append, 1000)
        cameras = Cameras(graph)
        wait_until(lambda: arrays and all(drawn.values()) and graph.statuses[-1].mode == "fused", "overlays of a pair")
        cameras.running[Camera.RGB] = False
        wait_until(lambda: graph.statuses[-1].mode == "thermal_only", "thermal alone")
        counts = len(arrays), len(drawn["annotations_thermal"])
        wait_until(
            lambda: len(arrays) > counts[0] and len(drawn["annotations_thermal"]) > counts[1], "thermal overlays"
        )
        cameras.running[Camera.RGB], cameras.frozen = True, True
        wait_until(lambda: graph.statuses[-1].mode == "rgb_only", "RGB alone")
        count = len(drawn["annotations"])
        wait_until(lambda: len(drawn["annotations"]) > count, "annotations of RGB alone")
        cameras.close()

        assert {to_nanoseconds(array.header.stamp) for array in arrays} <= set(cameras.sent[Camera.THERMAL])
        assert {array.header.frame_id for array in arrays} == {"thermal_camera"}
        # The box (4, 6, 20, 30) of 64x48 pixels, by the inverse homography, cut to the thermal image of 56x40 pixels.
        box = arrays[0].detections[0].bbox
        found = (box.center.position.x, box.center.position.y, box.size_x, box.size_y)
        assert found == pytest.approx((6.3, 21.0, 12.6, 38.0), abs=1e-4)
        for topic, camera in (("annotations", Camera.RGB), ("annotations_thermal", Camera.THERMAL)):
            assert {to_nanoseconds(message.timestamp) for message in drawn[topic]} <= set(cameras.sent[camera])
