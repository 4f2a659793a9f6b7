# SPDX-License-Identifier: Apache-2.0
"""The node with tiles publishes what the predictor finds with the same tiles."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("rclpy")

import torch
from detector_graph import DetectorProcess, Graph, isolate, wait_until
from ros_cameras import image_message
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, save_checkpoint
from fusion_mamba_ros.perception.predictor import Predictor, Thresholds
from fusion_mamba_ros.perception.tiling import Tiling
from fusion_mamba_ros.ros.detector.message_conversion import to_stamp
from fusion_mamba_ros.streams.frames import Camera

RUN = "from fusion_mamba_ros.ros.detector.detector_node import main; main()"
THRESHOLD = 0.002


def write_checkpoint(path: Path) -> Path:
    torch.manual_seed(3)
    model = FusionMambaDetector(ModelConfig(classes=2, fusion="add"))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.add_(0.1 * torch.randn_like(weight))
    save_checkpoint(path, model, CheckpointMetadata(("person", "car"), (96, 64)))
    return path


def test_the_node_publishes_what_the_predictor_finds_in_the_tiles(tmp_path: Path) -> None:
    isolate()
    checkpoint = write_checkpoint(tmp_path / "small.safetensors")
    generator = np.random.default_rng(5)
    pixels: dict[Camera, npt.NDArray[Any]] = {
        Camera.RGB: generator.integers(0, 255, (120, 180, 3), dtype=np.uint8),
        Camera.THERMAL: generator.integers(20_000, 40_000, (128, 160), dtype=np.uint16),
    }
    options = {"device": "cpu", "thresholds": Thresholds(score_threshold=THRESHOLD, max_detections=50)}
    images = {camera.value: image for camera, image in pixels.items()}
    predictor = Predictor.from_checkpoint(checkpoint, tiling=Tiling(3, 2, 0.3), **options)  # type: ignore[arg-type]
    expected = predictor.predict(images)
    untiled = Predictor.from_checkpoint(checkpoint, **options).predict(images)  # type: ignore[arg-type]
    assert len(expected) >= 5 and not np.array_equal(expected.boxes, untiled.boxes)

    settings = ("tiles:=3x2", "tile_overlap:=0.3", "max_detections:=50", "device:=cpu")
    detector = DetectorProcess(
        ["-c", RUN], tmp_path / "log", f"checkpoint:={checkpoint}", f"score_threshold:={THRESHOLD}", *settings
    )
    graph = Graph()
    publishers = {camera: graph.node.create_publisher(Image, f"{camera.value}/image_raw", 10) for camera in Camera}

    def fused() -> Detection2DArray | None:
        stamps = [status.header.stamp for status in list(graph.statuses) if status.mode == "fused"]
        return next((array for array in list(graph.arrays) if array.header.stamp in stamps), None)

    try:
        graph.activate()
        wait_until(lambda: all(p.get_subscription_count() for p in publishers.values()), "subscriptions")
        for number in range(6):
            for camera, image in pixels.items():
                message = image_message(camera, image)
                message.header.stamp = to_stamp(1_700_000_000 * 10**9 + number * 10**8)
                publishers[camera].publish(message)
            time.sleep(0.1)
        array = wait_until(fused, "an array of a pair")
        boxes = [detection.bbox for detection in array.detections]
        found = [
            (
                box.center.position.x - box.size_x / 2,
                box.center.position.y - box.size_y / 2,
                box.center.position.x + box.size_x / 2,
                box.center.position.y + box.size_y / 2,
            )
            for box in boxes
        ]
        np.testing.assert_allclose(found, expected.boxes, atol=0.01)
    finally:
        graph.close()
        detector.kill()
