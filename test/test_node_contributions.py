# SPDX-License-Identifier: Apache-2.0
"""Shares of the modalities in the status of the node, over DDS, through the loss of a camera."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("rclpy")

from detector_graph import DetectorProcess, Graph, isolate, wait_until
from ros_cameras import Cameras

from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, save_checkpoint
from fusion_mamba_ros.streams.frames import Camera

RUN = "from fusion_mamba_ros.ros.detector.detector_node import main; main()"


def test_status_holds_the_shares_of_the_cameras_of_the_array(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = FusionMambaDetector(ModelConfig(fusion="add", classes=1))
    for branch in model.head.class_branches:
        torch.nn.init.zeros_(branch.get_parameter("2.bias"))
    save_checkpoint(tmp_path / "m.safetensors", model, CheckpointMetadata(("person",), (64, 64)))
    isolate()
    choices = (f"checkpoint:={tmp_path / 'm.safetensors'}", "device:=cpu", "contributions:=true")
    detector = DetectorProcess(["-c", RUN], tmp_path / "log", *choices)
    graph = Graph()
    try:
        graph.activate()
        cameras = Cameras(graph, period_sec=0.2)
        wait_until(lambda: any(status.mode == "fused" for status in graph.statuses), "a pair")
        both = next(status for status in graph.statuses if status.mode == "fused")
        assert [item.name for item in both.contributions] == ["rgb", "thermal"]
        assert sum(item.share for item in both.contributions) == pytest.approx(1)
        cameras.running[Camera.RGB] = False
        wait_until(lambda: graph.statuses[-1].mode == "thermal_only", "thermal alone")
        alone = next(status for status in reversed(graph.statuses) if status.mode == "thermal_only")
        assert [(item.name, item.share) for item in alone.contributions] == [("thermal", 1.0)]
        cameras.close()
    finally:
        graph.close()
        detector.kill()
