# SPDX-License-Identifier: Apache-2.0
"""The fields of a `vision_msgs/Detection2D`, for live topics and for bags: the only place that fills them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def fill_detection(
    detection: Any, hypothesis: Any, *, header: Any, box: Sequence[float], score: float, class_id: str
) -> None:
    """Fill an empty Detection2D of any message library and give it ``hypothesis``, an empty ObjectHypothesisWithPose.

    ``box``: x1 y1 x2 y2 in pixels, as Python floats. ``id``, the angle and the pose stay as they are.
    """
    x1, y1, x2, y2 = box
    detection.header = header
    bbox = detection.bbox
    bbox.center.position.x = (x1 + x2) / 2
    bbox.center.position.y = (y1 + y2) / 2
    bbox.size_x = x2 - x1
    bbox.size_y = y2 - y1
    hypothesis.hypothesis.class_id = class_id
    hypothesis.hypothesis.score = score
    detection.results = [hypothesis]
