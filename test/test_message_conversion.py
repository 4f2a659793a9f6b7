# SPDX-License-Identifier: Apache-2.0
"""Conversion of detections to messages, serialized and read back."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("rclpy")

from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

from fusion_mamba_ros.bags.vision_messages import DETECTION_ARRAY, detection_typestore, labelled_boxes
from fusion_mamba_ros.msg import CameraCounters
from fusion_mamba_ros.perception.detections import Detections
from fusion_mamba_ros.ros.detector.frame_counters import FrameCounters
from fusion_mamba_ros.ros.detector.message_conversion import (
    camera_counters,
    detection_array,
    idle_status,
    label_info,
    to_nanoseconds,
    to_stamp,
)


def test_boxes_survive_the_wire() -> None:
    seed = 7
    print("seed", seed)
    generator = np.random.default_rng(seed)
    corners = np.sort(generator.uniform(0, 640, (20, 2, 2)), axis=1)
    boxes = corners.reshape(20, 4).astype(np.float32)
    scores = np.sort(generator.uniform(0, 1, 20).astype(np.float32))[::-1].copy()
    labels = generator.integers(0, 3, 20)
    header = Header(stamp=to_stamp(1_700_000_000_123_456_789), frame_id="rgb_camera")
    names = ("person", "bicycle", "car")

    sent = detection_array(Detections(boxes, scores, labels), header, names)
    array = deserialize_message(serialize_message(sent), Detection2DArray)

    assert array.header == header
    assert [detection.header for detection in array.detections] == [header] * 20
    centers = [(d.bbox.center.position.x, d.bbox.center.position.y) for d in array.detections]
    sizes = [(d.bbox.size_x, d.bbox.size_y) for d in array.detections]
    exact = boxes.astype(np.float64)
    np.testing.assert_array_equal(centers, (exact[:, :2] + exact[:, 2:]) / 2)
    np.testing.assert_array_equal(sizes, exact[:, 2:] - exact[:, :2])
    hypotheses = [result.hypothesis for d in array.detections for result in d.results]
    assert [hypothesis.class_id for hypothesis in hypotheses] == [names[label] for label in labels]
    np.testing.assert_array_equal([hypothesis.score for hypothesis in hypotheses], scores.astype(np.float64))
    assert {d.id for d in array.detections} == {""}


def test_a_box_carries_the_id_of_its_track_and_none_without_one() -> None:
    boxes, scores = np.zeros((3, 4), np.float32), np.array([0.9, 0.8, 0.7], np.float32)
    detections = Detections(boxes, scores, np.zeros(3, np.int64), track_ids=np.array([7, 0, 12]))
    array = detection_array(detections, Header(), ("person",))
    assert [detection.id for detection in array.detections] == ["7", "", "12"]


def test_no_detection_is_an_empty_array() -> None:
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    array = detection_array(nothing, Header(frame_id="rgb_camera"), ())
    assert list(array.detections) == []
    assert array.header.frame_id == "rgb_camera"


@pytest.mark.parametrize("nanoseconds", [0, 1, 999_999_999, 1_000_000_000, 1_700_000_000_123_456_789])
def test_stamps_keep_every_nanosecond(nanoseconds: int) -> None:
    assert to_nanoseconds(to_stamp(nanoseconds)) == nanoseconds


def test_labels_carry_the_index_of_the_checkpoint() -> None:
    message = label_info(("person", "car"), threshold=0.25, stamp=to_stamp(5))
    assert [(c.class_id, c.class_name) for c in message.class_map] == [(0, "person"), (1, "car")]
    assert (message.threshold, message.header.stamp.nanosec) == (0.25, 5)


def test_the_status_without_array_holds_no_number() -> None:
    status = idle_status(to_stamp(5))
    assert status.mode == status.NONE
    assert math.isnan(status.age_sec)
    assert math.isnan(status.inference_ms)


def test_the_counters_of_node_and_message_are_the_same() -> None:
    names = [name for name, _ in FrameCounters().items()]
    assert names == list(CameraCounters.get_fields_and_field_types())
    counters = FrameCounters(**{name: number for number, name in enumerate(names)})
    message = camera_counters(counters)
    assert [getattr(message, name) for name in names] == list(range(len(names)))


def test_live_and_recorded_arrays_are_the_same_in_every_field() -> None:
    seed = 11
    print("seed", seed)
    generator = np.random.default_rng(seed)
    boxes = np.sort(generator.uniform(0, 640, (20, 2, 2)), axis=1).reshape(20, 4).astype(np.float32)
    scores = np.sort(generator.uniform(0, 1, 20).astype(np.float32))[::-1].copy()
    labels = generator.integers(0, 2, 20)
    names = ("person", "car")
    stamp_ns = 1_700_000_000_123_456_789
    live = detection_array(
        Detections(boxes, scores, labels), Header(stamp=to_stamp(stamp_ns), frame_id="rgb_camera"), names
    )

    typestore = detection_typestore()
    recorded = labelled_boxes(
        typestore,
        stamp_ns=stamp_ns,
        frame_id="rgb_camera",
        boxes=boxes,
        class_ids=[names[label] for label in labels],
        scores=scores.tolist(),
    )

    read_back = deserialize_message(bytes(typestore.serialize_cdr(recorded, DETECTION_ARRAY)), Detection2DArray)
    assert len(read_back.detections) == 20
    assert read_back == live
