# SPDX-License-Identifier: Apache-2.0
"""Which overlays are made, for whom, and with which header."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

pytest.importorskip("rclpy")

from std_msgs.msg import Header

from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.ros.detector import annotation_conversion, overlay_outputs
from fusion_mamba_ros.ros.detector.message_conversion import to_stamp
from fusion_mamba_ros.ros.detector.overlay_outputs import OverlayOutputs

RGB_NS, THERMAL_NS = 1_700_000_000_100_000_000, 1_700_000_000_097_000_001
TOPICS = ("detections_thermal", "~/annotations", "~/annotations_thermal")


class FakePublisher:
    """A publisher with as many subscribers as the test says."""

    def __init__(self) -> None:
        self.subscribers = 0
        self.sent: list[Any] = []
        self.publish = self.sent.append

    def get_subscription_count(self) -> int:
        return self.subscribers


class FakeNode:
    def __init__(self) -> None:
        self.said: list[str] = []
        self.publishers: dict[str, FakePublisher] = {}

    def create_lifecycle_publisher(self, kind: Any, topic: str, depth: Any, **options: Any) -> FakePublisher:
        return self.publishers.setdefault(topic, FakePublisher())

    def destroy_lifecycle_publisher(self, publisher: FakePublisher) -> None:
        self.publishers = {topic: other for topic, other in self.publishers.items() if other is not publisher}

    def get_logger(self) -> SimpleNamespace:
        return SimpleNamespace(info=self.said.append)


def result_of(*cameras: str) -> Any:
    """A result with one box, made of the images of these cameras."""
    images = {"rgb": np.zeros((48, 64, 3), np.uint8), "thermal": np.zeros((96, 128), np.uint8)}
    detections = Detections(
        np.array([[4, 6, 20, 30]], np.float32), np.array([0.9], np.float32), np.zeros(1, np.int64), Mode.FUSED
    )
    return SimpleNamespace(
        detections=detections,
        seen=detections,
        thermal_lens=None,
        images={name: images[name] for name in cameras},
        header=Header(stamp=to_stamp(RGB_NS), frame_id="rgb_camera"),
        thermal_header=Header(stamp=to_stamp(THERMAL_NS), frame_id="thermal_camera") if "thermal" in cameras else None,
        reference_size=(64, 48),
    )


def published(node: FakeNode) -> dict[str, int]:
    return {topic: len(publisher.sent) for topic, publisher in node.publishers.items()}


@pytest.fixture
def overlays() -> tuple[FakeNode, OverlayOutputs]:
    if annotation_conversion.ImageAnnotations is None:
        pytest.skip("foxglove_msgs is not installed: it is optional")
    node = FakeNode()
    return node, OverlayOutputs(cast(Any, node), ("person", "car"), np.eye(3), {})


def test_nothing_is_made_without_a_subscriber(
    overlays: tuple[FakeNode, OverlayOutputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    node, outputs = overlays
    monkeypatch.setattr(overlay_outputs, "detections_in_thermal", None)
    monkeypatch.setattr(overlay_outputs, "box_annotations", None)
    outputs.publish(result_of("rgb", "thermal"), ("person", "car"))
    assert published(node) == dict.fromkeys(TOPICS, 0)


@pytest.mark.parametrize("wanted", TOPICS)
@pytest.mark.parametrize("cameras", [("rgb", "thermal"), ("rgb",), ("thermal",)])
def test_each_overlay_is_made_for_its_subscriber_where_its_image_is_there(
    overlays: tuple[FakeNode, OverlayOutputs], wanted: str, cameras: tuple[str, ...]
) -> None:
    node, outputs = overlays
    node.publishers[wanted].subscribers = 1
    outputs.publish(result_of(*cameras), ("person", "car"))
    of_rgb = wanted == "~/annotations"
    is_there = ("rgb" if of_rgb else "thermal") in cameras
    assert published(node) == {**dict.fromkeys(TOPICS, 0), wanted: int(is_there)}
    if not is_there:
        return
    (message,) = node.publishers[wanted].sent
    stamp = to_stamp(RGB_NS if of_rgb else THERMAL_NS)
    scale = 1 if of_rgb else 2
    if wanted == "detections_thermal":
        assert message.header == message.detections[0].header == Header(stamp=stamp, frame_id="thermal_camera")
        box = message.detections[0].bbox
        assert (box.center.position.x, box.center.position.y, box.size_x, box.size_y) == (24, 36, 32, 48)
        assert message.detections[0].results[0].hypothesis.class_id == "person"
    else:
        assert {message.timestamp.nanosec, *(item.timestamp.nanosec for item in message.points)} == {stamp.nanosec}
        assert message.texts[0].timestamp == stamp and message.texts[0].text == "person 90%"
        corners = [(point.x / scale, point.y / scale) for point in message.points[0].points]
        assert corners == [(4, 6), (20, 6), (20, 30), (4, 30)]


def test_boxes_of_a_rectified_thermal_image_go_back_to_the_image_that_was_sent(
    overlays: tuple[FakeNode, OverlayOutputs],
) -> None:
    node, outputs = overlays
    node.publishers["detections_thermal"].subscribers = 1
    result = result_of("rgb", "thermal")
    # The boxes of `detections` are for RGB as it was sent: they must not be used here.
    result.detections = None
    result.thermal_lens = SimpleNamespace(restored=lambda found: replace(found, boxes=found.boxes + 100))
    outputs.publish(result, ("person", "car"))
    center = node.publishers["detections_thermal"].sent[0].detections[0].bbox.center.position
    assert (center.x, center.y) == (124, 136)


def test_without_foxglove_msgs_the_log_says_so_and_the_array_is_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay_outputs, "ImageAnnotations", None)
    node = FakeNode()
    outputs = OverlayOutputs(cast(Any, node), ("person", "car"), np.eye(3), {})
    assert node.said == ["no topics ~/annotations: the package foxglove_msgs is not installed"]
    node.publishers["detections_thermal"].subscribers = 1
    outputs.publish(result_of("rgb", "thermal"), ("0", "1"))
    assert published(node) == {"detections_thermal": 1}
    outputs.close()
    assert node.publishers == {}
