# SPDX-License-Identifier: Apache-2.0
"""Convert between this package's types and ROS messages."""

from __future__ import annotations

import math
from collections.abc import Sequence

from builtin_interfaces.msg import Time
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray, LabelInfo, ObjectHypothesisWithPose, VisionClass

from fusion_mamba_ros.msg import CameraCounters, FusionStatus
from fusion_mamba_ros.perception.detection_fields import fill_detection
from fusion_mamba_ros.perception.detections import Detections
from fusion_mamba_ros.ros.detector.frame_counters import FrameCounters
from fusion_mamba_ros.tracking.tracker import NO_ID

_NANOSECONDS = 1_000_000_000


def to_nanoseconds(stamp: Time) -> int:
    """Return a ROS stamp as nanoseconds."""
    return int(stamp.sec) * _NANOSECONDS + int(stamp.nanosec)


def to_stamp(nanoseconds: int) -> Time:
    """Return nanoseconds as a ROS stamp."""
    seconds, rest = divmod(nanoseconds, _NANOSECONDS)
    return Time(sec=seconds, nanosec=rest)


def detection_array(detections: Detections, header: Header, class_ids: Sequence[str]) -> Detection2DArray:
    """Return ``detections`` as an array message, best first.

    The array and each of its detections carry ``header``. ``class_ids`` holds the text of ``hypothesis.class_id`` for
    each label. Centers and sizes are in pixels of the image that ``header`` belongs to. ``id`` is the id of the
    track, empty without a track. The pose stays empty.
    """
    array = Detection2DArray(header=header)
    boxes = detections.boxes.tolist()
    array.detections = [
        _detection(header, box, score, class_ids[label])
        for box, score, label in zip(boxes, detections.scores.tolist(), detections.labels.tolist(), strict=True)
    ]
    if detections.track_ids is not None:
        for detection, track_id in zip(array.detections, detections.track_ids.tolist(), strict=True):
            detection.id = str(track_id) if track_id != NO_ID else ""
    return array


def _detection(header: Header, box: list[float], score: float, class_id: str) -> Detection2D:
    # Call the constructors without arguments: keyword arguments are slower, and every pair builds an array.
    detection = Detection2D()
    fill_detection(detection, ObjectHypothesisWithPose(), header=header, box=box, score=score, class_id=class_id)
    return detection


def label_info(class_names: Sequence[str], *, threshold: float, stamp: Time) -> LabelInfo:
    """Return a message with the class names by index and the score threshold in force."""
    message = LabelInfo(threshold=threshold)
    message.header.stamp = stamp
    message.class_map = [VisionClass(class_id=index, class_name=name) for index, name in enumerate(class_names)]
    return message


def idle_status(stamp: Time) -> FusionStatus:
    """Return the status to publish while there is no array. Offsets and times are NaN."""
    status = FusionStatus(mode=FusionStatus.NONE)
    status.header.stamp = stamp
    status.pair_offset_sec = status.age_sec = math.nan
    status.pairing_ms = status.queue_ms = status.decode_ms = status.inference_ms = status.publish_ms = math.nan
    return status


def camera_counters(counters: FrameCounters) -> CameraCounters:
    """Return the counters of one camera as a message."""
    return CameraCounters(**dict(counters.items()))
