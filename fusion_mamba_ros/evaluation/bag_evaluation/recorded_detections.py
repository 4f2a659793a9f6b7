# SPDX-License-Identifier: Apache-2.0
"""Collect the detections that a vehicle published: no detector runs, and no image is decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from fusion_mamba_ros.bags.bag_reading import Bag
from fusion_mamba_ros.bags.message_stamp import serialized_stamp_ns
from fusion_mamba_ros.evaluation.bag_evaluation.collected_frame import CollectedBag, CollectedFrame
from fusion_mamba_ros.evaluation.bag_evaluation.detection_arrays import (
    DetectionArray,
    DetectionTopic,
    read_detection_topic,
)
from fusion_mamba_ros.evaluation.bag_evaluation.frame_record import FrameRecord, Outcome, SkipReason
from fusion_mamba_ros.evaluation.bag_evaluation.image_topics import find_image_topics, read_images, read_until_damage
from fusion_mamba_ros.evaluation.bag_evaluation.pairing_replay import FrameFate, PairingReplay, RecordedFrame
from fusion_mamba_ros.evaluation.bag_evaluation.result_record import result_record
from fusion_mamba_ros.perception.detections import Detections
from fusion_mamba_ros.streams.image_decoding import ImageDecodingError
from fusion_mamba_ros.streams.message_decoding import image_of
from fusion_mamba_ros.streams.pairing_limits import PairingLimits


def collect_recorded(
    bag: Bag,
    detections_topic: str,
    image_topics: Mapping[str, str],
    *,
    detections_bag: Bag | None = None,
    limits: PairingLimits | None = None,
    more_classes: Sequence[str] = (),
    on_progress: Callable[[int], None] = lambda messages: None,
) -> CollectedBag:
    """Return the frames of a bag with the arrays of ``detections_topic``, of this bag or of ``detections_bag``.

    The arrays belong to the frame with their stamp. A bag without images gives one frame for each array. Classes are
    those of the label info and of the arrays, then ``more_classes``. Raises `BagError` if there are no arrays.
    """
    collected = CollectedBag()
    topic = read_detection_topic(detections_bag or bag, detections_topic, collected.problems)
    collected.class_names = tuple(dict.fromkeys((*topic.class_names, *more_classes)))
    collected.recorded_threshold = topic.threshold
    collected.topics = find_image_topics(bag, image_topics, collected.problems)
    replay = PairingReplay(limits or PairingLimits())
    if collected.topics:
        for frame in _results(bag, collected, replay, on_progress):
            collected.frames.append(frame)
    collected.clock_jumps = replay.clock_jumps
    image_size = _image_size(bag, collected.topics)
    if image_size is not None:
        collected.sizes["rgb"] = image_size
    collected.add_skipped_fates()
    _attach(collected, topic)
    collected.frames.sort(key=lambda frame: (frame.record.stamp_ns, frame.record.received_ns or 0))
    return collected


def _results(
    bag: Bag, collected: CollectedBag, replay: PairingReplay, on_progress: Callable[[int], None]
) -> Iterator[CollectedFrame]:
    """Yield the results of pairing, still without detections."""
    cameras = {name: camera for camera, name in collected.topics.items()}
    for message in read_until_damage(bag, collected.topics, collected.problems):
        fate = FrameFate(cameras[message.topic], serialized_stamp_ns(message.data), message.recorded_ns)
        collected.fates.append(fate)
        if fate.stamp_ns is None:
            fate.corrupt("the message is too short for a header")
            continue
        for result in replay.add(RecordedFrame(fate)):
            used = [frame.fate for frame in result.frames]
            mode = "fused" if len(used) == 2 else f"{used[0].camera}_only"
            yield CollectedFrame(result_record(result, used, mode), released_ns=result.released_ns)
        on_progress(len(collected.fates))
    for result in replay.finish():
        used = [frame.fate for frame in result.frames]
        mode = "fused" if len(used) == 2 else f"{used[0].camera}_only"
        yield CollectedFrame(result_record(result, used, mode), released_ns=result.released_ns)


def _attach(collected: CollectedBag, topic: DetectionTopic) -> None:
    """Give each array to the frame with its stamp: a result of pairing, else another frame, else a frame of its own."""
    by_stamp: dict[int, CollectedFrame] = {}
    for frame in sorted(collected.frames, key=lambda frame: (frame.released_ns is None, frame.record.camera or "")):
        by_stamp.setdefault(frame.record.stamp_ns, frame)
    repeated = 0
    for array in topic.arrays:
        known = by_stamp.get(array.stamp_ns)
        frame = known or CollectedFrame(FrameRecord(0, array.stamp_ns, Outcome.SKIPPED))
        if known is None:
            by_stamp[array.stamp_ns] = frame
            collected.frames.append(frame)
        elif known.published is not None:
            repeated += 1
            continue
        _fill(frame, array, topic)
    for frame in collected.frames:
        if frame.published is None and frame.record.reason is None:
            frame.record.reason, frame.record.mode = SkipReason.DROPPED, None
    if repeated:
        collected.problems.append(f"{repeated} arrays repeat the stamp of an earlier array and are left out")


def _fill(frame: CollectedFrame, array: DetectionArray, topic: DetectionTopic) -> None:
    record = frame.record
    if frame.released_ns is None:
        # Nothing in the bag tells what an array was computed from whose frame pairing did not release.
        record.mode, record.reason = None, None
    record.mode = topic.modes.get(array.stamp_ns, record.mode)
    order = np.argsort(-array.scores, kind="stable")
    frame.published = Detections(array.boxes[order], array.scores[order], array.labels[order].astype(np.int64))
    record.latency_ms = round((array.received_ns - array.stamp_ns) * 1e-6, 3)
    if record.received_ns is not None:
        record.times_ms["publish"] = round((array.received_ns - record.received_ns) * 1e-6, 3)


def _image_size(bag: Bag, topics: Mapping[str, str]) -> tuple[int, int] | None:
    """Return the (width, height) of the first RGB image that can be decoded, None without one."""
    if "rgb" not in topics:
        return None
    for _, fields in read_images(bag, {"rgb": topics["rgb"]}, []):
        try:
            image = image_of(fields)
        except (AttributeError, ImageDecodingError):
            continue
        return image.width, image.height
    return None
