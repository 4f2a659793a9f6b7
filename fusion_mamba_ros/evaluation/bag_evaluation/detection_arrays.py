# SPDX-License-Identifier: Apache-2.0
"""Read the detection arrays of a topic, with their class names and the status messages of the node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.bags.bag_reading import Bag, BagError
from fusion_mamba_ros.bags.vision_messages import DETECTION_ARRAY, boxes_of, stamp_ns_of
from fusion_mamba_ros.evaluation.bag_evaluation.image_topics import read_until_damage

_LABEL_INFO = "vision_msgs/msg/LabelInfo"
_STATUS = "fusion_mamba_ros/msg/FusionStatus"


@dataclass(frozen=True, slots=True, eq=False)
class DetectionArray:
    """One array: boxes (n, 4) x1 y1 x2 y2 in pixels, scores (n,) and labels, indices into the names of the topic."""

    stamp_ns: int
    received_ns: int
    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int16]


@dataclass
class DetectionTopic:
    """The arrays of a topic in recorded order.

    ``class_names`` are those of the label info, then those that occur in arrays. ``threshold`` is that of the label
    info. ``modes`` maps stamps to the modes of the status messages.
    """

    arrays: list[DetectionArray] = field(default_factory=list)
    class_names: tuple[str, ...] = ()
    threshold: float | None = None
    modes: dict[int, str] = field(default_factory=dict)


def detection_topics(bag: Bag) -> list[str]:
    """Return the topics that hold detection arrays."""
    return sorted(name for name, topic in bag.topics.items() if topic.message_type == DETECTION_ARRAY)


def open_detection_topic(bag: Bag, topic: str) -> str:
    """Return ``topic``. Raises `BagError` if it is not in the bag or holds no detection arrays."""
    try:
        bag.require([topic], [DETECTION_ARRAY])
    except BagError as error:
        others = detection_topics(bag)
        hint = f"; detection arrays are on {', '.join(others)}" if others else "; it has no detection arrays"
        raise BagError(f"{error}{hint}") from error
    return topic


def read_detection_topic(bag: Bag, topic: str, problems: list[str]) -> DetectionTopic:
    """Return the arrays of ``topic``. Damaged messages become sentences in ``problems``.

    The label info and the status are taken from the topics beside it that have these types, if there are any.
    """
    open_detection_topic(bag, topic)
    beside = _beside(bag, topic)
    result = DetectionTopic()
    names: dict[str, int] = {}
    by_number: dict[str, str] = {}
    for kind, fields, received_ns in _messages(bag, topic, beside, problems):
        if kind == _LABEL_INFO:
            result.threshold = float(fields.threshold)
            for entry in sorted(fields.class_map, key=lambda entry: entry.class_id):
                by_number[str(entry.class_id)] = str(entry.class_name)
                names.setdefault(str(entry.class_name), len(names))
        elif kind == _STATUS:
            if fields.mode != "none":
                result.modes[stamp_ns_of(fields)] = str(fields.mode)
        else:
            boxes, scores, class_ids = boxes_of(fields)
            valid = np.isfinite(boxes).all(axis=1) & np.isfinite(scores)
            # The node writes names or, if asked to, the numbers of the label info.
            found = [by_number.get(class_id, class_id) for class_id in class_ids]
            labels = np.array([names.setdefault(name, len(names)) for name in found], np.int16)
            result.arrays.append(
                DetectionArray(stamp_ns_of(fields), received_ns, boxes[valid], scores[valid], labels[valid])
            )
    result.class_names = tuple(names)
    return result


def _beside(bag: Bag, topic: str) -> dict[str, str]:
    """Return the topics with label info and status, by type: those whose name is most like that of ``topic``."""
    chosen = {}
    for kind in (_LABEL_INFO, _STATUS):
        candidates = sorted(name for name, entry in bag.topics.items() if entry.message_type == kind)
        if candidates:
            chosen[kind] = max(candidates, key=lambda name: len(_common_prefix(name, topic)))
    return chosen


def _common_prefix(first: str, second: str) -> str:
    length = 0
    while length < min(len(first), len(second)) and first[length] == second[length]:
        length += 1
    return first[:length]


def _messages(bag: Bag, topic: str, beside: dict[str, str], problems: list[str]) -> Iterator[tuple[str, Any, int]]:
    """Yield the type, fields and receive time of each message: label info first, because arrays refer to it."""
    damaged: dict[str, list[str]] = {}
    for names in ([beside[_LABEL_INFO]] if _LABEL_INFO in beside else [], [topic, *_only(beside, _STATUS)]):
        if not names:
            continue
        for message in read_until_damage(bag, names, problems):
            try:
                fields = bag.fields_of(message)
            except BagError as error:
                damaged.setdefault(message.topic, []).append(str(error))
                continue
            yield message.message_type, fields, message.recorded_ns
    for name, sentences in damaged.items():
        problems.append(f"{len(sentences)} messages on '{name}' cannot be read; the first: {sentences[0]}")


def _only(beside: dict[str, str], kind: str) -> list[str]:
    return [beside[kind]] if kind in beside else []


def source_name(bag: Bag, topic: str) -> str:
    """Return how a topic of a bag is named in reports."""
    return f"{topic} of {Path(bag.path).name}"
