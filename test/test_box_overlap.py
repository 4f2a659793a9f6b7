# SPDX-License-Identifier: Apache-2.0
"""Complete IoU of boxes with known values."""

import math

import pytest
import torch

from fusion_mamba_ros.training.box_overlap import complete_iou


def ciou(box: list[float], other: list[float]) -> float:
    return float(complete_iou(torch.tensor(box, dtype=torch.float64), torch.tensor(other, dtype=torch.float64)))


def test_same_box_overlaps_fully() -> None:
    assert ciou([2, 3, 12, 23], [2, 3, 12, 23]) == pytest.approx(1.0, abs=1e-6)


def test_shifted_square_loses_overlap_and_distance() -> None:
    # Overlap 5 x 10, union 150; centres 5 apart, hull 15 x 10.
    assert ciou([0, 0, 10, 10], [5, 0, 15, 10]) == pytest.approx(50 / 150 - 25 / (15**2 + 10**2), abs=1e-6)


def test_boxes_apart_are_told_how_far() -> None:
    near, far = ciou([0, 0, 10, 10], [20, 0, 30, 10]), ciou([0, 0, 10, 10], [40, 0, 50, 10])
    assert near == pytest.approx(-(20**2) / (30**2 + 10**2), abs=1e-6)
    assert far < near < 0


def test_concentric_boxes_of_other_shape_lose_by_their_aspect() -> None:
    # 4 x 16 in the middle of 16 x 4: overlap 16, union 112.
    iou = 16 / 112
    aspect = 4 / math.pi**2 * (math.atan(4) - math.atan(1 / 4)) ** 2
    expected = iou - aspect**2 / (aspect - iou + 1)
    assert ciou([6, 0, 10, 16], [0, 6, 16, 10]) == pytest.approx(expected, abs=1e-6)


def test_empty_box_gives_a_finite_gradient() -> None:
    box = torch.tensor([5.0, 5.0, 5.0, 5.0], requires_grad=True)
    complete_iou(box, torch.tensor([0.0, 0.0, 10.0, 10.0])).backward()
    assert box.grad is not None
    assert bool(box.grad.isfinite().all())
