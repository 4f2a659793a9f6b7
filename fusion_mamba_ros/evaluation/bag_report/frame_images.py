# SPDX-License-Identifier: Apache-2.0
"""Read the images of chosen frames from a bag, in a second pass over it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy.typing as npt

from fusion_mamba_ros.bags.bag_reading import Bag, BagError
from fusion_mamba_ros.bags.message_stamp import serialized_stamp_ns
from fusion_mamba_ros.evaluation.bag_evaluation.image_topics import read_until_damage
from fusion_mamba_ros.evaluation.bag_evaluation.scored_frame import ScoredFrame
from fusion_mamba_ros.streams.message_decoding import image_of

FrameImages = Mapping[str, npt.NDArray[Any]]


def read_frame_images(
    path: Path, topics: Mapping[str, str], frames: Sequence[ScoredFrame]
) -> Iterator[tuple[ScoredFrame, FrameImages]]:
    """Yield each frame with its images by camera, as soon as they are read. ``topics`` are those of the cameras.

    Frames without an image that can be decoded are left out. Each message is decoded at most once, and only if a frame
    needs it.
    """
    wanted: dict[tuple[str, int], list[int]] = {}
    missing: dict[int, int] = {}
    for index, frame in enumerate(frames):
        stamps = {"rgb": frame.record.rgb_stamp_ns, "thermal": frame.record.thermal_stamp_ns}
        keys = [(camera, stamp) for camera, stamp in stamps.items() if stamp is not None and camera in topics]
        for key in keys:
            wanted.setdefault(key, []).append(index)
        if keys:
            missing[index] = len(keys)
    if not wanted:
        return
    cameras = {topic: camera for camera, topic in topics.items()}
    found: dict[int, dict[str, npt.NDArray[Any]]] = {index: {} for index in missing}
    with Bag(path) as bag:
        for message in read_until_damage(bag, topics, []):
            camera = cameras[message.topic]
            stamp_ns = serialized_stamp_ns(message.data)
            # The first message with a stamp is the one that pairing took.
            indices = [] if stamp_ns is None else wanted.pop((camera, stamp_ns), [])
            if not indices:
                continue
            pixels = _pixels(bag, message, camera)
            for index in indices:
                missing[index] -= 1
                if pixels is not None:
                    found[index][camera] = pixels
                if not missing[index] and found[index]:
                    yield frames[index], found.pop(index)
            if not wanted:
                return


def _pixels(bag: Bag, message: Any, camera: str) -> npt.NDArray[Any] | None:
    try:
        image = image_of(bag.fields_of(message))
        return image.to_rgb() if camera == "rgb" else image.to_thermal()
    except (BagError, cv2.error, MemoryError, ValueError):
        return None
