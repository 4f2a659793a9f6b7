# SPDX-License-Identifier: Apache-2.0
"""A checkpoint of three modalities in the node, over DDS: what the third image topic adds, and what its faults cost."""

from __future__ import annotations

import array
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

from depth_detector import DEPTH
from detector_graph import OK, WARN, DetectorProcess, Graph, isolate, wait_until
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from ros_cameras import Cameras, compressed_message
from sensor_msgs.msg import CompressedImage, Image

from fusion_mamba_ros.msg import FusionStatus
from fusion_mamba_ros.network import FusionMamba, FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, save_checkpoint
from fusion_mamba_ros.perception.modality import register_modality, unregister_modality
from fusion_mamba_ros.streams.frames import Camera

MODALITIES = {"rgb": 3, "thermal": 1, "depth": 1}
OFFSET_NS = 7_000_000


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("depth") / "model.safetensors"
    register_modality(DEPTH)
    try:
        config = ModelConfig(
            scale="n",
            classes=1,
            modalities=MODALITIES,
            operator=FusionMamba(dssf_count=1, max_channels=8, state_size=4),
        )
        save_checkpoint(path, FusionMambaDetector(config), CheckpointMetadata(("person",), (64, 64)))
    finally:
        unregister_modality("depth")
    return path


class DepthCamera:
    """A depth image just before each RGB image, ``offset_ns`` away from it; attributes may change at any time."""

    def __init__(self, graph: Graph, cameras: Cameras, *, compressed: bool = False) -> None:
        kind, suffix = (CompressedImage, "/compressed") if compressed else (Image, "")
        self.publisher = graph.node.create_publisher(kind, f"depth/image_raw{suffix}", 5)
        self.running = True
        self.offset_ns = OFFSET_NS
        self.compressed = compressed
        self.spoil: Callable[[Image], None] = lambda message: None
        cameras.spoil = self.follow

    def follow(self, camera: Camera, message: Image) -> Image:
        if camera is Camera.RGB and self.running:
            stamp = message.header.stamp
            stamp_ns = stamp.sec * 10**9 + stamp.nanosec
            depth = self.image()
            stamp_ns = stamp_ns + self.offset_ns if stamp_ns else 0
            depth.header.stamp.sec, depth.header.stamp.nanosec = divmod(stamp_ns, 10**9)
            self.spoil(depth)
            self.publisher.publish(depth)
        return message

    def image(self) -> Image:
        if self.compressed:
            return compressed_message(Camera.THERMAL, np.full((40, 56), 1500, np.uint16))
        metres = np.full((40, 56), 1.5, np.float32)
        message = Image(height=40, width=56, encoding="32FC1", step=4 * 56)
        message.data = array.array("B", metres.tobytes())
        return message


def newest(graph: Graph, mode: str) -> FusionStatus:
    """Wait for a new status of ``mode``."""
    since = len(graph.statuses)

    def found() -> FusionStatus | None:
        return next((status for status in graph.statuses[since:] if status.mode == mode), None)

    return wait_until(found, f"a status of mode {mode}")


def cut(message: Image) -> None:
    message.data = message.data[:100]


def test_depth_joins_and_each_of_its_faults_costs_the_depth_only(checkpoint: Path, tmp_path: Path) -> None:
    isolate()
    program = [str(Path(__file__).with_name("depth_detector.py"))]
    detector = DetectorProcess(program, tmp_path / "log", f"checkpoint:={checkpoint}")
    graph = Graph()
    try:
        graph.activate()
        cameras = Cameras(graph, period_sec=0.2)
        depth = DepthCamera(graph, cameras)
        fused = newest(graph, "fused")
        (further,) = fused.further
        assert (further.name, further.in_array) == ("depth", True)
        assert further.offset_sec == pytest.approx(OFFSET_NS * 1e-9)
        assert list(fused.contributions) == []
        graph.wait_for_health("cameras", OK)

        depth.running = False
        (further,) = newest(graph, "rgb+thermal").further
        assert not further.in_array and math.isnan(further.offset_sec)
        graph.wait_for_health("cameras", WARN, "depth is missing: no image within further.max_offset_sec (0.05 s)")

        # Two cameras at once, the one that all stamps follow included.
        cameras.running[Camera.THERMAL] = False
        newest(graph, "rgb_only")
        depth.running = True
        newest(graph, "rgb+depth")
        cameras.running[Camera.THERMAL] = True
        newest(graph, "fused")

        depth.spoil = cut
        newest(graph, "rgb+thermal")
        graph.wait_for_health("cameras", WARN, "depth is missing")
        wait_until(lambda: graph.statuses[-1].further[0].refused > 0, "refused depth images")
        assert "depth image refused: image data is cut short" in detector.log
        depth.spoil = lambda message: None

        depth.offset_ns = 80_000_000
        newest(graph, "rgb+thermal")
        limit = Parameter("further.max_offset_sec", value=0.1).to_parameter_msg()
        answer = graph.call(SetParameters, "detector_node/set_parameters", SetParameters.Request(parameters=[limit]))
        assert answer.results[0].successful
        newest(graph, "fused")

        cameras.close()
        newest(graph, "none")
        counters = graph.counters_add_up().further[0]
        assert counters.used > 0 and not counters.in_array
        assert "depth is missing: " in detector.log
        assert detector.process.poll() is None
    finally:
        graph.close()
        detector.kill()


def test_compressed_depth_whose_file_is_damaged_in_the_middle_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    def damage(message: CompressedImage) -> None:
        middle = len(message.data) // 2
        message.data[middle : middle + 8] = array.array("B", [0] * 8)

    isolate()
    program = [str(Path(__file__).with_name("depth_detector.py"))]
    choices = (f"checkpoint:={checkpoint}", "image_transport:=compressed")
    detector = DetectorProcess(program, tmp_path / "log", *choices)
    graph = Graph()
    try:
        graph.activate()
        cameras = Cameras(graph, period_sec=0.2, compressed=True)
        depth = DepthCamera(graph, cameras, compressed=True)
        newest(graph, "fused")
        depth.spoil = damage
        newest(graph, "rgb+thermal")
        wait_until(lambda: graph.statuses[-1].further[0].refused > 0, "refused depth images")
        depth.spoil = lambda message: None
        newest(graph, "fused")
        graph.counters_add_up()
        cameras.close()
    finally:
        graph.close()
        detector.kill()
