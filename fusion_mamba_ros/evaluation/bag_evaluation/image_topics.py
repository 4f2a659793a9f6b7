# SPDX-License-Identifier: Apache-2.0
"""Find and read the image topics of both cameras."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fusion_mamba_ros.bags.bag_reading import IMAGE_TYPES, Bag, BagError, BagMessage
from fusion_mamba_ros.bags.message_stamp import serialized_stamp_ns
from fusion_mamba_ros.evaluation.bag_evaluation.pairing_replay import FrameFate

_COMPRESSED = "/compressed"


def find_image_topics(bag: Bag, wanted: Mapping[str, str], problems: list[str]) -> dict[str, str]:
    """Return the topics of the cameras that the bag has, by camera.

    Each topic of ``wanted`` may be in the bag with or without `/compressed`. A camera that is missing or whose topic
    has another type is left out, with a sentence in ``problems``.
    """
    found = {}
    for camera, topic in wanted.items():
        base = topic.removesuffix(_COMPRESSED)
        present = [name for name in dict.fromkeys((topic, base, base + _COMPRESSED)) if name in bag.topics]
        images = [name for name in present if bag.topics[name].message_type in IMAGE_TYPES]
        if images:
            found[camera] = images[0]
        elif present:
            kind = bag.topics[present[0]].message_type
            problems.append(f"topic '{present[0]}' holds {kind}: expected {' or '.join(IMAGE_TYPES)}")
        else:
            listed = ", ".join(sorted(bag.topics))
            problems.append(f"the bag has no images of the {camera} camera on '{topic}': it has {listed}")
    return found


def read_until_damage(bag: Bag, topics: Mapping[str, str] | list[str], problems: list[str]) -> Iterator[BagMessage]:
    """Yield the messages of ``topics`` that can be read. What is lost becomes sentences in ``problems``."""
    names = list(topics.values()) if isinstance(topics, Mapping) else topics
    try:
        yield from bag.messages(names)
    except BagError as error:
        problems.append(str(error))
    # A warning that loses nothing, such as a missing index, is no problem.
    for warning in bag.warnings:
        if warning.lost_messages != 0 and warning.sentence not in problems:
            problems.append(warning.sentence)


def read_images(bag: Bag, topics: Mapping[str, str], problems: list[str]) -> Iterator[tuple[FrameFate, Any]]:
    """Yield each image message with its fields. The fields are None if the message cannot be read."""
    cameras = {topic: camera for camera, topic in topics.items()}
    for message in read_until_damage(bag, topics, problems):
        fate = FrameFate(cameras[message.topic], serialized_stamp_ns(message.data), message.recorded_ns)
        try:
            yield fate, bag.fields_of(message)
        except BagError as error:
            fate.corrupt(str(error))
            yield fate, None
