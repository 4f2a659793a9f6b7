# SPDX-License-Identifier: Apache-2.0
"""Sample RGB-thermal pairs from a bag, evenly spread over its length."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fusion_mamba_ros.bags.bag_reading import IMAGE_TYPES, Bag, BagError
from fusion_mamba_ros.bags.vision_messages import stamp_ns_of
from fusion_mamba_ros.datasets.pair_source import ImagePair
from fusion_mamba_ros.streams.message_decoding import image_of

_MOST_OFFSET_SEC = 1e9


def sample_bag_pairs(
    path: Path,
    rgb_topic: str,
    thermal_topic: str,
    *,
    count: int,
    thermal_offset_sec: float = 0.0,
    max_offset_sec: float = 0.02,
) -> list[ImagePair]:
    """Return at most ``count`` image pairs, evenly spread over the bag.

    Each RGB frame is paired with the thermal frame whose header stamp is nearest. ``thermal_offset_sec`` is added to
    the thermal stamps first. The function reads the bag twice, so that it decodes and holds only the chosen frames.
    Raises :class:`BagError` if a topic is missing or no two stamps are within ``max_offset_sec``.
    """
    if not abs(thermal_offset_sec) <= _MOST_OFFSET_SEC:
        raise BagError(f"the offset of the thermal stamps is {thermal_offset_sec:g} s: expected seconds")
    topics = (rgb_topic, thermal_topic)
    with Bag(path) as bag:
        bag.require(topics, IMAGE_TYPES)
        stamps: dict[str, list[int]] = {topic: [] for topic in topics}
        for message, fields in bag.read(topics):
            stamps[message.topic].append(stamp_ns_of(fields))
        for topic in topics:
            if not stamps[topic]:
                raise BagError(
                    f"bag '{path}' holds no message on '{topic}', although its metadata counts some: it is damaged"
                )
        rgb, thermal = (np.array(stamps[topic]) for topic in topics)
        thermal = thermal + round(thermal_offset_sec * 1e9)
        nearest = np.array([int(np.abs(thermal - stamp).argmin()) for stamp in rgb])
        close = np.flatnonzero(np.abs(thermal[nearest] - rgb) <= 1e9 * max_offset_sec)
        if not len(close):
            raise BagError(
                f"bag '{path}' has no two images on '{rgb_topic}' and '{thermal_topic}' within {max_offset_sec:g} s: "
                "one camera is missing, or their clocks differ: say by how much (--thermal-offset)"
            )
        chosen = close[np.unique(np.linspace(0, len(close) - 1, min(count, len(close))).round().astype(int))]
        wanted = {rgb_topic: set(chosen.tolist()), thermal_topic: set(nearest[chosen].tolist())}
        images = {}
        seen = dict.fromkeys(topics, 0)
        for message, fields in bag.read(topics):
            number = seen[message.topic]
            seen[message.topic] += 1
            if number in wanted[message.topic]:
                # Copy the image, because the decoded image may be a view of the message.
                image = image_of(fields)
                pixels = image.to_rgb() if message.topic == rgb_topic else image.to_thermal()
                images[message.topic, number] = np.ascontiguousarray(pixels).copy()
    return [ImagePair(str(rgb[i]), images[rgb_topic, int(i)], images[thermal_topic, int(nearest[i])]) for i in chosen]
