# SPDX-License-Identifier: Apache-2.0
"""Describe how detections are drawn over an image by a viewer: boxes and texts, in pixels of that image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusion_mamba_ros.perception.detections import Detections
from fusion_mamba_ros.perception.drawing import class_colour

LINE_THICKNESS = 2.0
FONT_SIZE = 12.0
TEXT_BACKGROUND = (0.07, 0.08, 0.09, 0.7)

Point = tuple[float, float]
Rgba = tuple[float, float, float, float]


@dataclass(frozen=True)
class BoxAnnotation:
    """One box with its text.

    ``corners`` go around the box. ``text_position`` is the lower left corner of the text. The channels of ``colour``
    are in [0, 1].
    """

    corners: tuple[Point, Point, Point, Point]
    colour: Rgba
    text: str
    text_position: Point


def box_annotations(detections: Detections, class_names: Sequence[str]) -> list[BoxAnnotation]:
    """Return the boxes of ``detections`` with class and percentage, the best last: viewers draw it on top.

    The text stands on the box, or inside it at the upper edge of the image.
    """
    annotations = []
    rows = zip(detections.boxes.tolist(), detections.scores.tolist(), detections.labels.tolist(), strict=True)
    for (x1, y1, x2, y2), score, label in rows:
        red, green, blue = (channel / 255 for channel in class_colour(label))
        annotations.append(
            BoxAnnotation(
                corners=((x1, y1), (x2, y1), (x2, y2), (x1, y2)),
                colour=(red, green, blue, 1.0),
                text=f"{class_names[label]} {score:.0%}",
                text_position=(x1, y1 if y1 >= FONT_SIZE else y1 + FONT_SIZE),
            )
        )
    return annotations[::-1]
