# SPDX-License-Identifier: Apache-2.0
"""Choices of the user that change what the node does with its inputs."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from detector_graph import ERROR, running_detector, wait_until
from ros_cameras import Cameras

from fusion_mamba_ros.streams.frames import Camera


def test_compressed_topics_and_stop_when_a_camera_is_missing(tmp_path: Path) -> None:
    choices = ("image_transport:=compressed", "missing_modality:=stop", "class_id_format:=index")
    with running_detector(tmp_path / "log", "checkpoint:=stand-in", *choices) as (detector, graph):
        cameras = Cameras(graph, compressed=True)
        wait_until(lambda: len(graph.arrays) >= 3, "arrays from compressed images")
        assert graph.arrays[-1].detections[0].results[0].hypothesis.class_id == "0"

        cameras.running[Camera.THERMAL] = False
        graph.wait_for_health("cameras", ERROR, "thermal is missing")
        count = len(graph.arrays)
        wait_until(lambda: graph.statuses[-1].mode == "none", "a status without array")
        unpaired = graph.counters_add_up().rgb.unpaired
        wait_until(lambda: graph.statuses[-1].rgb.unpaired > unpaired, "unpaired frames")
        assert {status.mode for status in graph.statuses} == {"fused", "none"}
        assert len(graph.arrays) == count

        cameras.running[Camera.THERMAL] = True
        wait_until(lambda: len(graph.arrays) > count, "arrays when the camera is back")
        cameras.close()
        assert detector.process.poll() is None


def test_cameras_that_are_faster_than_inference_lose_frames_not_time(tmp_path: Path) -> None:
    choices = ("checkpoint:=stand-in", "pairing.queue_size:=3")
    with running_detector(tmp_path / "log", *choices, delay_sec=0.2) as (_, graph):
        cameras = Cameras(graph, period_sec=1 / 60)
        wait_until(lambda: len(graph.arrays) >= 15, "arrays")
        cameras.close()
        wait_until(lambda: graph.statuses[-1].mode == "none", "the end")
        status = graph.counters_add_up()
        assert status.rgb.dropped > status.rgb.paired
        assert status.rgb.waiting <= 1
        # However long inference takes, no more than this ever waits: three in the queue of pairing, one whose stamp ran
        # ahead, and the newest pair.
        assert max(camera.waiting for s in graph.statuses for camera in (s.rgb, s.thermal)) <= 5


def test_images_without_stamps_give_arrays_with_ids_by_arrival(tmp_path: Path) -> None:
    choices = (
        "checkpoint:=stand-in",
        "pairing.use_arrival_time:=true",
        "tracking:=true",
        "rgb.freeze_timeout_sec:=0.4",
    )
    with running_detector(tmp_path / "log", *choices) as (_, graph):
        cameras = Cameras(graph)
        cameras.zero_stamp = dict.fromkeys(Camera, True)
        wait_until(lambda: any(status.mode == "fused" for status in graph.statuses), "fused arrays")
        cameras.frozen = True
        wait_until(lambda: graph.statuses[-1].mode == "rgb_only", "arrays of RGB alone while thermal is frozen")
        cameras.frozen = False
        wait_until(lambda: graph.statuses[-1].mode == "fused", "fused arrays again")
        cameras.close()
        graph.counters_add_up()
        ids = [detection.id for array in graph.arrays for detection in array.detections]
        assert ids[0] == ""
        assert set(ids[1:]) == {"1"}
        # Stamps are times of the node's clock, not zero.
        assert all(array.header.stamp.sec > 0 for array in graph.arrays)
