# SPDX-License-Identifier: Apache-2.0
"""Fill the fields of a `vision_msgs/Detection2D`. Live topics and bags both use this module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def fill_detection(
    detection: Any, hypothesis: Any, *, header: Any, box: Sequence[float], score: float, class_id: str
) -> None:
    """Fill ``detection``, an empty Detection2D, and ``hypothesis``, an empty ObjectHypothesisWithPose.

    The messages may come from any message library. ``hypothesis`` becomes the only result of ``detection``. ``box`` is
    x1 y1 x2 y2 in pixels, as Python floats. ``id``, the angle and the pose stay unchanged.
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
