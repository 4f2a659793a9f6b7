# SPDX-License-Identifier: Apache-2.0
"""Boxes of the RGB image in pixels of the thermal image, checked with many points of each box."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.registration import homography_from
from fusion_mamba_ros.perception.thermal_boxes import detections_in_thermal

RGB_SIZE, THERMAL_SIZE = (640, 480), (320, 256)


def detections_of(boxes: Any) -> Detections:
    count = len(boxes)
    scores = np.linspace(0.9, 0.1, count, dtype=np.float32)
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), scores, np.arange(count), Mode.FUSED)


def mapped(boxes: Any, homography: Any) -> Detections:
    return detections_in_thermal(
        detections_of(boxes), homography_from(homography), reference_size=RGB_SIZE, thermal_size=THERMAL_SIZE
    )


def test_aligned_cameras_only_change_the_scale() -> None:
    found = mapped([[64, 48, 128, 96], [0, 0, 640, 480]], np.eye(3))
    np.testing.assert_allclose(found.boxes, [[32.0, 25.6, 64.0, 51.2], [0.0, 0.0, 320.0, 256.0]], atol=1e-4)


def test_boxes_in_thermal_pixels_stay_as_they_are() -> None:
    detections = detections_of([[1, 2, 3, 4]])
    tilted = homography_from([0.5, 0, 0.2, 0, 0.5, 0.1, 0, 0, 1])
    assert detections_in_thermal(detections, tilted, reference_size=None, thermal_size=THERMAL_SIZE) is detections


def test_box_outside_of_the_thermal_image_is_left_out_and_the_others_keep_their_scores() -> None:
    # The thermal image covers the middle half of the RGB image.
    found = mapped(
        [[0, 0, 100, 100], [200, 150, 300, 250], [100, 200, 200, 300]], [0.5, 0, 0.25, 0, 0.5, 0.25, 0, 0, 1]
    )
    np.testing.assert_allclose(found.boxes, [[40, 32, 140, 138.6667], [0, 85.3333, 40, 192]], atol=1e-3)
    np.testing.assert_allclose(found.scores, [0.5, 0.1])
    assert found.labels.tolist() == [1, 2]


def test_each_box_keeps_the_id_of_its_track_if_another_is_left_out() -> None:
    tracked = detections_of([[0, 0, 100, 100], [200, 150, 300, 250]]).tracked(np.array([7, 8]), 0.0)
    middle = homography_from([0.5, 0, 0.25, 0, 0.5, 0.25, 0, 0, 1])
    found = detections_in_thermal(tracked, middle, reference_size=RGB_SIZE, thermal_size=THERMAL_SIZE)
    assert found.track_ids is not None
    assert found.track_ids.tolist() == [8]


@pytest.mark.parametrize("seed", range(20))
def test_box_goes_around_the_points_inside_the_thermal_image(seed: int) -> None:
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    source = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    target = (source + rng.uniform(-0.3, 0.3, (4, 2))).astype(np.float32)
    homography = cv2.getPerspectiveTransform(source, target)
    corners = rng.uniform([0, 0], RGB_SIZE, (12, 2, 2))
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    found = mapped(boxes, homography)

    # A fine grid of the thermal image, mapped to RGB, tells which of its points are in a box.
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 801), np.linspace(0, 1, 801)), axis=-1).reshape(-1, 1, 2)
    in_rgb = cv2.perspectiveTransform(grid, homography).reshape(-1, 2) * RGB_SIZE
    expected = {}
    for index, (x1, y1, x2, y2) in enumerate(boxes):
        inside = (in_rgb[:, 0] >= x1) & (in_rgb[:, 0] <= x2) & (in_rgb[:, 1] >= y1) & (in_rgb[:, 1] <= y2)
        if inside.any():
            points = grid.reshape(-1, 2)[inside] * THERMAL_SIZE
            expected[index] = [*points.min(axis=0), *points.max(axis=0)]
    for index, box in zip(found.labels.tolist(), found.boxes, strict=True):
        # The step of the grid is 0.4 pixels.
        np.testing.assert_allclose(box, expected.pop(index), atol=1.5)
    # Boxes that touch the image with a corner only are left out.
    assert all(min(x2 - x1, y2 - y1) < 2.5 for x1, y1, x2, y2 in expected.values())
