# SPDX-License-Identifier: Apache-2.0
"""Decoding of network rows to boxes: thresholds, classes, clipping and NMS."""

from __future__ import annotations

from typing import Any

import numpy as np

from fusion_mamba_ros.perception.decoding import detections_from
from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.letterbox import Letterbox

LETTERBOX = Letterbox((640, 480), (320, 256))  # Half size, 8 rows of padding above and below.


def detect(rows: Any, **options: Any) -> Detections:
    defaults = {"score_threshold": 0.3, "nms_threshold": 0.5, "max_detections": 100}
    return detections_from(np.array(rows, np.float32), LETTERBOX, Mode.FUSED, **{**defaults, **options})


def test_boxes_are_in_pixels_of_the_original_image_best_first() -> None:
    result = detect([[10, 18, 50, 58, 0.4, 0.1], [100, 108, 140, 168, 0.2, 0.9]])
    np.testing.assert_allclose(result.boxes, [[200, 200, 280, 320], [20, 20, 100, 100]])
    np.testing.assert_allclose(result.scores, [0.9, 0.4])
    assert result.labels.tolist() == [1, 0]
    assert result.boxes.dtype == result.scores.dtype == np.float32
    assert result.labels.dtype == np.int64
    assert result.mode is Mode.FUSED


def test_boxes_are_clipped_to_the_image_and_those_in_the_padding_dropped() -> None:
    result = detect([[-20, -20, 50, 58, 0.9, 0.0], [10, 0, 50, 7, 0.8, 0.0]])
    np.testing.assert_allclose(result.boxes, [[0, 0, 100, 100]])


def test_boxes_that_are_not_finite_are_dropped() -> None:
    nan, inf = float("nan"), float("inf")
    boxes = [
        [nan, 18, 50, 58, 0.9, 0.0],
        [10, 18, inf, nan, 0.9, 0.0],
        [10, 18, inf, 58, 0.9, 0.0],
        [-inf, 18, 50, 58, 0.9, 0.0],
    ]
    assert len(detect([*boxes, [10, 18, 50, 58, nan, nan]])) == 0


def test_score_at_the_threshold_counts() -> None:
    assert len(detect([[10, 18, 50, 58, 0.5, 0.0]], score_threshold=0.5)) == 1
    assert len(detect([[10, 18, 50, 58, 0.4999, 0.0]], score_threshold=0.5)) == 0


def test_class_filter_falls_back_to_the_best_class_that_counts() -> None:
    rows = [[10, 18, 50, 58, 0.4, 0.9]]
    assert detect(rows, classes=[0]).labels.tolist() == [0]
    assert len(detect(rows, classes=[])) == 0


def test_multi_label_counts_an_anchor_for_every_class() -> None:
    rows = [[10, 18, 50, 58, 0.4, 0.9]]
    assert detect(rows).labels.tolist() == [1]
    assert detect(rows, multi_label=True).labels.tolist() == [1, 0]


def test_overlapping_boxes_of_one_class_leave_the_best() -> None:
    rows = [[10, 18, 50, 58, 0.4, 0.0], [11, 18, 51, 58, 0.6, 0.0], [11, 18, 51, 58, 0.0, 0.5]]
    result = detect(rows)
    assert result.scores.tolist() == np.array([0.6, 0.5], np.float32).tolist()
    assert result.labels.tolist() == [0, 1]


def test_no_box_is_an_empty_result() -> None:
    result = detect([[10, 18, 50, 58, 0.0, 0.0]])
    assert result.boxes.shape == (0, 4)
    assert len(result) == 0
