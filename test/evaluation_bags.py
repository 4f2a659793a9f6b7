# SPDX-License-Identifier: Apache-2.0
"""Small bags for the tests of bag evaluation: every message with its own stamp and receive time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg

from fusion_mamba_ros.bags.new_bag import VERSION
from fusion_mamba_ros.bags.vision_messages import DETECTION_ARRAY, detection_typestore, labelled_boxes, time_message
from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.thresholds import Thresholds

IMAGE = "sensor_msgs/msg/Image"
LABEL_INFO = "vision_msgs/msg/LabelInfo"
START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000
CLASS_NAMES = ("person", "car")
BOX = (2.0, 3.0, 12.0, 13.0)
FAR_BOX = (20.0, 20.0, 30.0, 28.0)

_MESSAGES = {
    "vision_msgs/msg/VisionClass": "uint16 class_id\nstring class_name\n",
    LABEL_INFO: "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold\n",
}


def stamp(index: float) -> int:
    """Return the stamp of frame ``index``."""
    return START_NS + round(index * PERIOD_NS)


@dataclass(frozen=True)
class Message:
    """One message of a bag: an image (a numpy array), boxes (class, box, score), label info or raw bytes."""

    topic: str
    stamp_ns: int
    content: Any
    received_ns: int | None = None
    encoding: str | None = None


def rgb(index: float, **options: object) -> Message:
    """Return an RGB image of frame ``index``."""
    pixels = np.full((32, 40, 3), int(index * 7) % 200, np.uint8)
    return Message("/rgb/image_raw", stamp(index), pixels, **options)  # type: ignore[arg-type]


def thermal(index: float, **options: object) -> Message:
    """Return a thermal image of frame ``index``, different from that of every other frame."""
    pixels = np.full((32, 40), int(index * 11) % 200, np.uint8)
    return Message("/thermal/image_raw", stamp(index), pixels, **options)  # type: ignore[arg-type]


def boxes(topic: str, index: float, rows: Iterable[tuple[Any, ...]], **options: object) -> Message:
    """Return an array of (class name, box, score)."""
    return Message(topic, stamp(index), tuple(rows), **options)  # type: ignore[arg-type]


def write_bag(path: Path, messages: Iterable[Message], *, plugin: StoragePlugin = StoragePlugin.MCAP) -> Path:
    """Write the messages in the given order."""
    store = detection_typestore()
    for name, text in _MESSAGES.items():
        store.register(get_types_from_msg(text, name))
    connections: dict[str, Any] = {}
    with Writer(path, version=VERSION, storage_plugin=plugin) as writer:
        for message in messages:
            kind, data = _serialized(store, message)
            if message.topic not in connections:
                connections[message.topic] = writer.add_connection(message.topic, kind, typestore=store)
            received = message.stamp_ns if message.received_ns is None else message.received_ns
            writer.write(connections[message.topic], received, data)
    return path


def _serialized(store: Any, message: Message) -> tuple[str, bytes]:
    types, content = store.types, message.content
    if isinstance(content, bytes):
        return IMAGE, content
    header = types["std_msgs/msg/Header"](time_message(store, message.stamp_ns), "camera")
    if isinstance(content, dict):
        entries = [types["vision_msgs/msg/VisionClass"](number, name) for number, name in content.items()]
        kind, fields = LABEL_INFO, types[LABEL_INFO](header, entries, 0.25)
    elif isinstance(content, np.ndarray):
        encoding = message.encoding or ("rgb8" if content.ndim == 3 else "mono8")
        height, width = content.shape[:2]
        kind = IMAGE
        step, data = content.nbytes // height, content.view(np.uint8).reshape(-1)
        fields = types[IMAGE](header, height, width, encoding, 0, step, data)
    else:
        kind = DETECTION_ARRAY
        fields = labelled_boxes(
            store,
            stamp_ns=message.stamp_ns,
            frame_id="camera",
            boxes=np.array([row[1] for row in content], np.float32).reshape(-1, 4),
            class_ids=[row[0] for row in content],
            scores=[row[2] for row in content],
        )
    return kind, store.serialize_cdr(fields, kind)


class OneBoxDetector:
    """A stand-in for `Predictor`: one person at `BOX` in every image, a car at `FAR_BOX` with a low score."""

    class_names = CLASS_NAMES
    modes = tuple(Mode)
    device = "cpu"
    engine = SimpleNamespace(precision="fp32", name="stand-in")
    homography = np.eye(3)
    metadata = SimpleNamespace(training={"recipe": {"tiles": "auto"}})

    def __init__(self, *, fail_at: int | None = None) -> None:
        self.thresholds = Thresholds()
        self.seen: list[set[str]] = []
        self._fail_at = fail_at

    def reset_stream(self) -> None:
        """Nothing is kept."""

    def predict_for(
        self,
        images: Mapping[str, Any],
        thresholds: Iterable[Thresholds],
        *,
        reference_size: tuple[int, int] | None = None,
    ) -> list[Detections]:
        """Return the box, or both if the thresholds allow."""
        self.seen.append(set(images))
        if len(self.seen) - 1 == self._fail_at:
            raise RuntimeError("the stand-in was asked to fail")
        mode = Mode.FUSED if len(images) == 2 else Mode.RGB_ONLY if "rgb" in images else Mode.THERMAL_ONLY
        everything = Detections(
            np.array([BOX, FAR_BOX], np.float32), np.array([0.9, 0.1], np.float32), np.array([0, 1]), mode
        )
        return [
            everything
            if item.score_threshold <= 0.1
            else Detections(everything.boxes[:1], everything.scores[:1], everything.labels[:1], mode)
            for item in thresholds
        ]
