# SPDX-License-Identifier: Apache-2.0
"""Write `foxglove_msgs/ImageAnnotations` in bags on machines without ROS.

The message definitions are those of `foxglove_msgs` 3.4.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rosbags.typesys.store import Typestore

from fusion_mamba_ros.bags.message_definitions import register_definitions
from fusion_mamba_ros.bags.vision_messages import time_message
from fusion_mamba_ros.perception.box_annotations import (
    FONT_SIZE,
    LINE_THICKNESS,
    TEXT_BACKGROUND,
    BoxAnnotation,
    Point,
    Rgba,
)

IMAGE_ANNOTATIONS = "foxglove_msgs/msg/ImageAnnotations"

_POINTS, _TEXT = "foxglove_msgs/msg/PointsAnnotation", "foxglove_msgs/msg/TextAnnotation"
_DEFINITIONS = {
    "foxglove_msgs/msg/Color": "float64 r\nfloat64 g\nfloat64 b\nfloat64 a\n",
    "foxglove_msgs/msg/Point2": "float64 x\nfloat64 y\n",
    "foxglove_msgs/msg/KeyValuePair": "string key\nstring value\n",
    "foxglove_msgs/msg/CircleAnnotation": (
        "builtin_interfaces/Time timestamp\nfoxglove_msgs/Point2 position\nfloat64 diameter\nfloat64 thickness\n"
        "foxglove_msgs/Color fill_color\nfoxglove_msgs/Color outline_color\nfoxglove_msgs/KeyValuePair[] metadata\n"
    ),
    _POINTS: (
        "builtin_interfaces/Time timestamp\n"
        "uint8 UNKNOWN=0\nuint8 POINTS=1\nuint8 LINE_LOOP=2\nuint8 LINE_STRIP=3\nuint8 LINE_LIST=4\nuint8 type\n"
        "foxglove_msgs/Point2[] points\nfoxglove_msgs/Color outline_color\nfoxglove_msgs/Color[] outline_colors\n"
        "foxglove_msgs/Color fill_color\nfloat64 thickness\nfoxglove_msgs/KeyValuePair[] metadata\n"
    ),
    _TEXT: (
        "builtin_interfaces/Time timestamp\nfoxglove_msgs/Point2 position\nstring text\nfloat64 font_size\n"
        "foxglove_msgs/Color text_color\nfoxglove_msgs/Color background_color\nfoxglove_msgs/KeyValuePair[] metadata\n"
    ),
    IMAGE_ANNOTATIONS: (
        "builtin_interfaces/Time timestamp\nfoxglove_msgs/CircleAnnotation[] circles\n"
        "foxglove_msgs/PointsAnnotation[] points\nfoxglove_msgs/TextAnnotation[] texts\n"
        "foxglove_msgs/KeyValuePair[] metadata\n"
    ),
}


def register_annotation_messages(typestore: Typestore) -> None:
    """Add the message types of image annotations to ``typestore``. Types that it already has are not changed."""
    register_definitions(typestore, _DEFINITIONS)


def image_annotations(typestore: Typestore, *, stamp_ns: int, annotations: Sequence[BoxAnnotation]) -> Any:
    """Return an ImageAnnotations message for the image with the stamp ``stamp_ns``."""
    types = typestore.types
    stamp = time_message(typestore, stamp_ns)
    # The constants of a message class are unknown to the type checker.
    points: Any = types[_POINTS]
    text, clear = types[_TEXT], _colour(typestore, (0.0, 0.0, 0.0, 0.0))
    background = _colour(typestore, TEXT_BACKGROUND)
    loops, texts = [], []
    for annotation in annotations:
        colour = _colour(typestore, annotation.colour)
        corners = [_point(typestore, corner) for corner in annotation.corners]
        loops.append(points(stamp, points.LINE_LOOP, corners, colour, [], clear, LINE_THICKNESS, []))
        place = _point(typestore, annotation.text_position)
        texts.append(text(stamp, place, annotation.text, FONT_SIZE, colour, background, []))
    return types[IMAGE_ANNOTATIONS](stamp, [], loops, texts, [])


def _point(typestore: Typestore, point: Point) -> Any:
    return typestore.types["foxglove_msgs/msg/Point2"](*point)


def _colour(typestore: Typestore, colour: Rgba) -> Any:
    return typestore.types["foxglove_msgs/msg/Color"](*colour)
