# SPDX-License-Identifier: Apache-2.0
"""Two camera pairs in one process over DDS: one of them dies or floods, and the other goes on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from detector_graph import OK, Graph, running_detector, wait_until
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from ros_cameras import Cameras
from vision_msgs.msg import Detection2DArray

from fusion_mamba_ros.msg import FusionStatus
from fusion_mamba_ros.ros.detector.message_conversion import to_nanoseconds
from fusion_mamba_ros.streams.frames import Camera

NAMES = ("front", "rear")
SUBJECTS = ("cameras", "pairing", "inference", "output")
DELAY_SEC = 0.02


class Pairs:
    """Two pairs of cameras around a node, with what the node publishes for each."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.arrays: dict[str, list[Detection2DArray]] = {name: [] for name in NAMES}
        self.statuses: dict[str, list[FusionStatus]] = {name: [] for name in NAMES}
        self.health: dict[str, Any] = {}
        graph.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 100)
        for name in NAMES:
            graph.node.create_subscription(Detection2DArray, f"{name}/detections", self.arrays[name].append, 1000)
            status = f"detector_node/{name}/status"
            graph.node.create_subscription(FusionStatus, status, self.statuses[name].append, 1000)
        self.cameras = {name: Cameras(graph, prefix=f"{name}/") for name in NAMES}

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.health |= {status.name.removeprefix("detector_node "): status for status in message.status}

    def is_well(self, name: str) -> bool:
        """Return whether all reports on a pair are OK, and not just inactive."""
        reports = [self.health.get(f"{name}: {subject}") for subject in SUBJECTS]
        return all(report is not None and report.message == "OK" for report in reports)

    def more_arrays(self, name: str, count: int) -> list[Detection2DArray]:
        """Wait for ``count`` more arrays of a pair and return them."""
        start = len(self.arrays[name])
        wait_until(lambda: len(self.arrays[name]) >= start + count, f"{count} arrays of {name}")
        return self.arrays[name][start : start + count]

    def close(self) -> None:
        """Stop the cameras."""
        for cameras in self.cameras.values():
            cameras.close()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pairs]:
    log: Path = tmp_path_factory.mktemp("pairs") / "log"
    own = "rear.pairing.timeout_sec:=0.7"
    with running_detector(log, "checkpoint:=stand-in", "pairs:=[front, rear]", own, delay_sec=DELAY_SEC) as (_, graph):
        pairs = Pairs(graph)
        try:
            for name in NAMES:
                wait_until(partial(pairs.is_well, name), f"{name} is well")
            yield pairs
        finally:
            pairs.close()


def test_each_pair_gets_the_stamps_of_its_own_cameras(pairs: Pairs) -> None:
    for name in NAMES:
        stamps = {to_nanoseconds(array.header.stamp) for array in pairs.more_arrays(name, 10)}
        assert stamps <= set(pairs.cameras[name].sent[Camera.RGB])
        assert pairs.statuses[name][-1].mode == "fused"
    assert pairs.graph.arrays == [] and pairs.graph.statuses == [], "no topic without the name of a pair"


def test_one_pair_dies_and_comes_back_while_the_other_goes_on(pairs: Pairs) -> None:
    rear = pairs.cameras["rear"]
    rear.running = dict.fromkeys(Camera, False)
    wait_until(lambda: "no camera delivers" in pairs.health["rear: cameras"].message, "the dead pair to be reported")
    pairs.more_arrays("front", 20)
    assert pairs.is_well("front")
    rear.running[Camera.THERMAL] = True
    wait_until(lambda: pairs.statuses["rear"][-1].mode == "thermal_only", "thermal alone")
    assert pairs.statuses["front"][-1].mode == "fused"
    rear.running[Camera.RGB] = True
    wait_until(lambda: pairs.is_well("rear"), "rear is well")
    assert pairs.is_well("front")


def test_one_pair_floods_and_the_other_is_served_as_often_as_its_cameras_send(pairs: Pairs) -> None:
    rear, front = pairs.cameras["rear"], pairs.cameras["front"]
    rear.period_sec = 0.004
    try:
        wait_until(lambda: pairs.statuses["rear"][-1].rgb.dropped > 0, "dropped images of the flood")
        sent = len(front.sent[Camera.RGB])
        arrays = pairs.more_arrays("front", 20)
        # The node keeps up with this pair: at most every second pair of images finds the thread taken by the flood.
        assert len(front.sent[Camera.RGB]) - sent <= 2 * len(arrays)
    finally:
        rear.period_sec = front.period_sec
    for name in NAMES:
        wait_until(partial(pairs.is_well, name), f"{name} is well")
        status = pairs.statuses[name][-1]
        for camera in (status.rgb, status.thermal):
            counts = [getattr(camera, field) for field in camera.get_fields_and_field_types()]
            assert 2 * camera.received == sum(counts), camera


def test_a_live_parameter_changes_one_pair_or_all(pairs: Pairs) -> None:
    def change(name: str, value: Any) -> None:
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        (result,) = pairs.graph.call(SetParameters, "detector_node/set_parameters", request).results
        assert result.successful, result.reason

    def class_ids() -> list[str]:
        return [pairs.more_arrays(name, 3)[-1].detections[0].results[0].hypothesis.class_id for name in NAMES]

    assert class_ids() == ["person", "person"]
    change("rear.class_id_format", "index")
    assert class_ids() == ["person", "0"]
    change("class_id_format", "index")
    assert class_ids() == ["0", "0"]
    change("rear.class_id_format", "name")
    assert class_ids() == ["0", "person"]
    assert pairs.health["front: cameras"].level == OK
