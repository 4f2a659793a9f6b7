# SPDX-License-Identifier: Apache-2.0
"""Non-maximum suppression against a comparison of every pair."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from fusion_mamba_ros.perception.nms import nms


def brute_force(
    boxes: npt.NDArray[np.floating],
    scores: npt.NDArray[np.floating],
    labels: npt.NDArray[np.int64],
    threshold: float,
    limit: int,
) -> list[int]:
    """The definition, every pair compared, in float64."""
    boxes = boxes.astype(np.float64)
    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda index: -scores[index]):
        for j in kept:
            if labels[i] != labels[j]:
                continue
            width = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0])
            height = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1])
            overlap = max(width, 0) * max(height, 0)
            areas = [(boxes[k, 2] - boxes[k, 0]) * (boxes[k, 3] - boxes[k, 1]) for k in (i, j)]
            if overlap > threshold * (sum(areas) - overlap):
                break
        else:
            kept.append(i)
    return kept[:limit]


@pytest.mark.parametrize("seed", range(30))
def test_nms_agrees_with_comparing_every_pair(seed: int) -> None:
    print("seed", seed)
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 200))
    corner = rng.uniform(0, 150, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 60, (count, 2))], axis=1).astype(np.float32)
    # Few distinct scores, so that ties are common.
    scores = (rng.integers(1, 40, count) / 40).astype(np.float32)
    labels = rng.integers(0, 3, count)
    threshold, limit = float(rng.uniform(0.2, 0.8)), int(rng.integers(1, 120))
    kept = nms(boxes, scores, labels, nms_threshold=threshold, max_detections=limit)
    assert kept.tolist() == brute_force(boxes, scores, labels, threshold, limit)


def test_same_box_of_two_classes_stays_twice() -> None:
    boxes = np.array([[10, 10, 50, 50]] * 2, np.float32)
    kept = nms(boxes, np.array([0.4, 0.9]), np.array([0, 1]), nms_threshold=0.5, max_detections=10)
    assert kept.tolist() == [1, 0]


def test_threshold_of_one_keeps_everything_by_score() -> None:
    boxes = np.array([[10, 10, 50, 50]] * 3, np.float32)
    kept = nms(boxes, np.array([0.4, 0.9, 0.5]), np.zeros(3), nms_threshold=1.0, max_detections=2)
    assert kept.tolist() == [1, 2]


def test_nothing_in_nothing_out() -> None:
    empty = np.zeros((0, 4), np.float32)
    assert len(nms(empty, np.zeros(0), np.zeros(0), nms_threshold=0.5, max_detections=10)) == 0
