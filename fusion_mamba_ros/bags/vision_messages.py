# SPDX-License-Identifier: Apache-2.0
"""Read and write `vision_msgs` detections in bags on machines without ROS.

The message definitions are those of `vision_msgs` 4.1.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from fusion_mamba_ros.bags.message_definitions import register_definitions
from fusion_mamba_ros.perception.detection_fields import fill_detection

DETECTION_ARRAY = "vision_msgs/msg/Detection2DArray"

_DEFINITIONS = {
    "vision_msgs/msg/Point2D": "float64 x\nfloat64 y\n",
    "vision_msgs/msg/Pose2D": "vision_msgs/Point2D position\nfloat64 theta\n",
    "vision_msgs/msg/BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y\n",
    "vision_msgs/msg/ObjectHypothesis": "string class_id\nfloat64 score\n",
    "vision_msgs/msg/ObjectHypothesisWithPose": "ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose\n",
    "vision_msgs/msg/Detection2D": (
        "std_msgs/Header header\nObjectHypothesisWithPose[] results\nBoundingBox2D bbox\nstring id\n"
    ),
    DETECTION_ARRAY: "std_msgs/Header header\nDetection2D[] detections\n",
}


def detection_typestore() -> Typestore:
    """Return a typestore with the message types of ROS 2 Jazzy and of 2D detections."""
    typestore = get_typestore(Stores.ROS2_JAZZY)
    register_vision_messages(typestore)
    return typestore


def register_vision_messages(typestore: Typestore) -> None:
    """Add the message types of 2D detections to ``typestore``. Types that it already has are not changed."""
    register_definitions(typestore, _DEFINITIONS)


def labelled_boxes(
    typestore: Typestore,
    *,
    stamp_ns: int,
    frame_id: str,
    boxes: npt.NDArray[np.float32],
    class_ids: Sequence[str],
    scores: Sequence[float],
) -> Any:
    """Return a Detection2DArray of ``boxes`` (n, 4), x1 y1 x2 y2 in pixels."""
    types = typestore.types
    header = types["std_msgs/msg/Header"](time_message(typestore, stamp_ns), frame_id)
    point, quaternion = (
        types["geometry_msgs/msg/Point"](0.0, 0.0, 0.0),
        types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0),
    )
    pose = types["geometry_msgs/msg/PoseWithCovariance"](
        types["geometry_msgs/msg/Pose"](point, quaternion), np.zeros(36, np.float64)
    )
    detections = []
    for box, class_id, score in zip(boxes.tolist(), class_ids, scores, strict=True):
        centre = types["vision_msgs/msg/Pose2D"](types["vision_msgs/msg/Point2D"](0.0, 0.0), 0.0)
        bounds = types["vision_msgs/msg/BoundingBox2D"](centre, 0.0, 0.0)
        hypothesis = types["vision_msgs/msg/ObjectHypothesis"]("", 0.0)
        result = types["vision_msgs/msg/ObjectHypothesisWithPose"](hypothesis, pose)
        detection = types["vision_msgs/msg/Detection2D"](header, [], bounds, "")
        fill_detection(detection, result, header=header, box=box, score=float(score), class_id=class_id)
        detections.append(detection)
    return types[DETECTION_ARRAY](header, detections)


def boxes_of(array: Any) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], list[str]]:
    """Return boxes (n, 4) float32 x1 y1 x2 y2, scores (n,) float32 and class ids of a Detection2DArray.

    The function uses the first hypothesis of each detection. It skips a detection without hypotheses.
    """
    boxes, scores, class_ids = [], [], []
    for detection in array.detections:
        if not len(detection.results):
            continue
        centre, box = detection.bbox.center.position, detection.bbox
        half_width, half_height = box.size_x / 2, box.size_y / 2
        boxes.append((centre.x - half_width, centre.y - half_height, centre.x + half_width, centre.y + half_height))
        scores.append(detection.results[0].hypothesis.score)
        class_ids.append(detection.results[0].hypothesis.class_id)
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), class_ids


def time_message(typestore: Typestore, stamp_ns: int) -> Any:
    """Return nanoseconds as builtin_interfaces/Time."""
    seconds, rest = divmod(stamp_ns, 1_000_000_000)
    return typestore.types["builtin_interfaces/msg/Time"](seconds, rest)


def stamp_ns_of(message: Any) -> int:
    """Return the stamp of a message's header in nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
