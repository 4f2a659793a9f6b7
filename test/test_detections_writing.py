# SPDX-License-Identifier: Apache-2.0
"""Detections and annotations in a bag, read back by the official reader of mcap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from fusion_mamba_ros.bags.annotation_messages import IMAGE_ANNOTATIONS, register_annotation_messages
from fusion_mamba_ros.bags.bag_reading import Bag, BagError
from fusion_mamba_ros.bags.detections_writing import DetectionFrame, DetectionsBagWriter
from fusion_mamba_ros.bags.vision_messages import boxes_of
from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.drawing import PALETTE

UNDERLAY = Path(__file__).parent.parent / "underlay" / "foxglove_msgs" / "msg"
CLASSES = ("person", "bicycle", "car")
# A stamp that a float64 of seconds cannot hold.
STAMPS = [1_700_000_000_123_456_789, 1_700_000_000_223_456_788]


def detections_of(*rows: tuple[float, ...], mode: Mode = Mode.FUSED) -> Detections:
    boxes = np.array([row[:4] for row in rows], np.float32).reshape(-1, 4)
    scores = np.array([row[4] for row in rows], np.float32)
    return Detections(boxes, scores, np.array([row[5] for row in rows], np.int64), mode)


FIRST = detections_of((10, 40, 30, 90, 0.875, 0), (100.5, 3, 140, 60.25, 0.5, 2))
THERMAL = detections_of((5, 20, 15, 45, 0.75, 1), mode=Mode.THERMAL_ONLY)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bags") / "detections"
    with DetectionsBagWriter(path, CLASSES) as writer:
        writer.add(DetectionFrame(STAMPS[0], "rgb_frame", FIRST, recorded_ns=STAMPS[0] + 5 * 10**7))
        writer.add(DetectionFrame(STAMPS[1], "rgb_frame", detections_of()))
        writer.add(DetectionFrame(STAMPS[1], "thermal_frame", THERMAL, camera="thermal"))
    return path


def decoded(bag: Path) -> list[tuple[Any, Any, Any, Any]]:
    """Return (channel, schema, message, fields) of each message."""
    with (bag / "detections.mcap").open("rb") as file:
        rows = make_reader(file, decoder_factories=[DecoderFactory()]).iter_decoded_messages()
        return [(channel, schema, message, fields) for schema, channel, message, fields in rows]


def test_official_reader_decodes_every_message_with_the_stamps_of_the_images(bag: Path) -> None:
    found: dict[str, list[tuple[str, Any, int]]] = {}
    for channel, schema, message, fields in decoded(bag):
        found.setdefault(channel.topic, []).append((schema.name, fields, message.log_time))
    assert {topic: [kind for kind, _, _ in rows] for topic, rows in found.items()} == {
        "/detections": ["vision_msgs/msg/Detection2DArray"] * 2,
        "/detector_node/annotations": [IMAGE_ANNOTATIONS] * 2,
        "/detections_thermal": ["vision_msgs/msg/Detection2DArray"],
        "/detector_node/annotations_thermal": [IMAGE_ANNOTATIONS],
    }
    for topic, stamps in (("/detector_node/annotations", STAMPS), ("/detector_node/annotations_thermal", STAMPS[1:])):
        for (_, drawn, _), stamp in zip(found[topic], stamps, strict=True):
            times = [drawn, *drawn.points, *drawn.texts]
            assert {item.timestamp.sec * 10**9 + item.timestamp.nanosec for item in times} == {stamp}
    for (_, array, _), stamp in zip(found["/detections"], STAMPS, strict=True):
        headers = [array.header, *(detection.header for detection in array.detections)]
        assert {header.stamp.sec * 10**9 + header.stamp.nanosec for header in headers} == {stamp}
        assert {header.frame_id for header in headers} == {"rgb_frame"}
    assert [log_time for _, _, log_time in found["/detections"]] == [STAMPS[0] + 5 * 10**7, STAMPS[1]]
    assert found["/detections_thermal"][0][1].header.frame_id == "thermal_frame"


def test_annotations_draw_each_box_with_its_text_the_best_on_top(bag: Path) -> None:
    drawn = next(fields for channel, _, _, fields in decoded(bag) if channel.topic == "/detector_node/annotations")
    assert [text.text for text in drawn.texts] == ["car 50%", "person 88%"]
    car, person = drawn.points
    assert car.type == person.type == 2  # LINE_LOOP
    assert [(point.x, point.y) for point in person.points] == [(10, 40), (30, 40), (30, 90), (10, 90)]
    colour = person.outline_color
    np.testing.assert_allclose([colour.r, colour.g, colour.b], np.array(PALETTE[0]) / 255)
    assert (colour.a, person.fill_color.a) == (1, 0)
    # The car touches the upper edge, so its text is inside the box.
    assert [(text.position.x, text.position.y) for text in drawn.texts] == [(100.5, 15), (10, 40)]


def test_boxes_and_scores_survive(bag: Path) -> None:
    with Bag(bag) as opened:
        _, array = next(opened.read(["/detections"]))
        assert opened.warnings == []
    boxes, scores, class_ids = boxes_of(array)
    np.testing.assert_allclose(boxes, FIRST.boxes, atol=1e-5)
    np.testing.assert_allclose(scores, FIRST.scores)
    assert class_ids == ["person", "car"]


def test_file_is_whole_for_the_mcap_library(bag: Path) -> None:
    with (bag / "detections.mcap").open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None and summary.statistics is not None
        assert summary.statistics.message_count == len(list(reader.iter_messages())) == 6


def test_definitions_are_those_of_the_underlay() -> None:
    typestore = get_typestore(Stores.ROS2_JAZZY)
    register_annotation_messages(typestore)
    from_files: dict[str, Any] = {}
    for file in UNDERLAY.glob("*.msg"):
        from_files |= get_types_from_msg(file.read_text(), f"foxglove_msgs/msg/{file.stem}")
    ours = {name: fields for name, fields in typestore.fielddefs.items() if name.startswith("foxglove_msgs/")}
    assert ours == from_files and len(ours) == 7


def test_exception_removes_the_bag_and_an_existing_folder_is_kept(tmp_path: Path) -> None:
    with pytest.raises(IndexError), DetectionsBagWriter(tmp_path / "bag", CLASSES[:1]) as writer:
        writer.add(DetectionFrame(STAMPS[0], "rgb_frame", FIRST))
    assert not (tmp_path / "bag").exists()
    (tmp_path / "bag").mkdir()
    with pytest.raises(BagError, match="exists already"):
        DetectionsBagWriter(tmp_path / "bag", CLASSES)
