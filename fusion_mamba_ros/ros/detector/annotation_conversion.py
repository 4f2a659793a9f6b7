# SPDX-License-Identifier: Apache-2.0
"""Convert annotations to `foxglove_msgs`, if this package is installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from builtin_interfaces.msg import Time

from fusion_mamba_ros.perception.box_annotations import (
    FONT_SIZE,
    LINE_THICKNESS,
    TEXT_BACKGROUND,
    BoxAnnotation,
    Point,
    Rgba,
)

try:
    from foxglove_msgs.msg import Color, Point2, PointsAnnotation, TextAnnotation
    from foxglove_msgs.msg import ImageAnnotations as ImageAnnotations
except ImportError:
    ImageAnnotations = None


def image_annotations(stamp: Time, annotations: Sequence[BoxAnnotation]) -> Any:
    """Return an ImageAnnotations message for the image with ``stamp``. `foxglove_msgs` must be installed."""
    message = ImageAnnotations()
    # Versions before 3.2.5 have the timestamp only in each annotation.
    if hasattr(message, "timestamp"):
        message.timestamp = stamp
    for annotation in annotations:
        colour = _colour(annotation.colour)
        loop = PointsAnnotation(timestamp=stamp, type=PointsAnnotation.LINE_LOOP, outline_color=colour)
        loop.points = [_point(corner) for corner in annotation.corners]
        loop.thickness = LINE_THICKNESS
        text = TextAnnotation(timestamp=stamp, text=annotation.text, font_size=FONT_SIZE, text_color=colour)
        text.position = _point(annotation.text_position)
        text.background_color = _colour(TEXT_BACKGROUND)
        message.points.append(loop)
        message.texts.append(text)
    return message


def _point(point: Point) -> Any:
    return Point2(x=point[0], y=point[1])


def _colour(colour: Rgba) -> Any:
    red, green, blue, alpha = colour
    return Color(r=red, g=green, b=blue, a=alpha)
