# SPDX-License-Identifier: Apache-2.0
"""Draw boxes with tags into an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.detections import Detections
from fusion_mamba_ros.perception.drawing.colours import BACKGROUND, Colour, Image, class_colour
from fusion_mamba_ros.perception.drawing.text import draw_text, text_width, unit_of
from fusion_mamba_ros.perception.letterbox import size_of


@dataclass(frozen=True, eq=False)
class DrawnBox:
    """A box x1 y1 x2 y2 in pixels, its colour (RGB) and the text of its tag."""

    box: npt.NDArray[Any]
    colour: Colour
    text: str = ""


def detection_boxes(detections: Detections, class_names: Sequence[str]) -> list[DrawnBox]:
    """Return the boxes of ``detections`` in their order, tagged with track id, class and percentage."""
    track_ids = [0] * len(detections) if detections.track_ids is None else detections.track_ids.tolist()
    rows = zip(detections.boxes, detections.scores, detections.labels.tolist(), track_ids, strict=True)
    boxes = []
    for box, score, label, track_id in rows:
        name = class_names[label] if label < len(class_names) else str(label)
        text = f"#{track_id} " * bool(track_id) + f"{name} {100 * score:.0f}"
        boxes.append(DrawnBox(box, class_colour(label), text))
    return boxes


def draw_boxes(image: Image, detections: Detections, class_names: Sequence[str]) -> Image:
    """Return a copy of ``image`` with the boxes of ``detections``, best on top, tagged with class and percentage."""
    return draw_tagged_boxes(image, detection_boxes(detections, class_names))


def draw_tagged_boxes(image: Image, boxes: Sequence[DrawnBox]) -> Image:
    """Return a copy of ``image`` with ``boxes``. Earlier boxes cover later boxes.

    A tag that would cover the tag of an earlier box is omitted; its box is still drawn.
    """
    canvas = np.ascontiguousarray(image).copy()
    unit = unit_of(size_of(canvas))
    for item in reversed(boxes):
        x1, y1, x2, y2 = _rounded(item)
        corners = (x1, y1), (max(x2 - 1, x1), max(y2 - 1, y1))
        # A dark edge keeps the box visible on a bright background.
        cv2.rectangle(canvas, *corners, BACKGROUND, round(2 * unit) + 2)
        cv2.rectangle(canvas, *corners, item.colour, max(1, round(2 * unit)))
    _draw_tags(canvas, boxes, 0.85 * unit)
    return canvas


def _draw_tags(canvas: Image, boxes: Sequence[DrawnBox], unit: float) -> None:
    """Write the text above, below or inside each box, at the first place without an earlier tag.

    The tag is omitted if there is no such place.
    """
    padding, height = round(4 * unit), round(18 * unit)
    taken: list[tuple[int, int, int, int]] = []
    for item in boxes:
        if not item.text:
            continue
        width = text_width(item.text, unit) + 2 * padding
        x1, y1, _, y2 = _rounded(item)
        left = int(np.clip(x1 - 1, 0, max(0, canvas.shape[1] - width)))
        for top in (y1 - height, y2, y1):
            place = (left, top, left + width, top + height)
            if top < 0 or top + height > canvas.shape[0] or any(_overlap(place, other) for other in taken):
                continue
            taken.append(place)
            canvas[top : top + height, left : left + width] = item.colour
            draw_text(canvas, item.text, (left + padding, top + height // 2), BACKGROUND, unit)
            break


def _rounded(item: DrawnBox) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = (round(float(value)) for value in item.box)
    return x1, y1, x2, y2


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
