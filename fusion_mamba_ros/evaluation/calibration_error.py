# SPDX-License-Identifier: Apache-2.0
"""Compute the expected calibration error: the difference between detection scores and precision."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.evaluation.box_matching import match_image
from fusion_mamba_ros.evaluation.detection_results import DetectionResults
from fusion_mamba_ros.perception.detections import Detections
from fusion_mamba_ros.perception.nms import nms
from fusion_mamba_ros.perception.thresholds import Thresholds

BINS = 10
LOWEST_SCORE = 0.05


@dataclass(frozen=True)
class ScoredDetections:
    """All detections of a dataset: ``scores`` (n,), ``correct`` (n,) flags and ``labels`` (n,)."""

    scores: npt.NDArray[np.float64]
    correct: npt.NDArray[np.bool_]
    labels: npt.NDArray[np.int64]


def as_deployed(results: DetectionResults) -> DetectionResults:
    """Return the results after NMS with the IoU threshold of predictor and node.

    The IoU threshold of the evaluation protocol is higher and leaves more duplicates.
    """
    limits = Thresholds()
    images = []
    for image in results.images:
        found = image.detections
        kept = nms(
            found.boxes,
            found.scores,
            found.labels,
            nms_threshold=limits.nms_threshold,
            max_detections=limits.max_detections,
        )
        detections = Detections(found.boxes[kept], found.scores[kept], found.labels[kept], found.mode)
        images.append(replace(image, detections=detections))
    return replace(results, images=tuple(images))


def scored_detections(results: DetectionResults, lowest: float = LOWEST_SCORE) -> ScoredDetections:
    """Return the detections with a score of at least ``lowest``.

    A detection is correct if it is matched to a true box of its class at IoU 0.5.
    """
    scores, correct, labels = [np.zeros(0)], [np.zeros(0, bool)], [np.zeros(0, np.int64)]
    for image in results.images:
        found = image.detections
        hit = np.zeros(len(found), bool)
        hit[match_image(image, lowest).pairs[:, 1]] = True
        chosen = found.scores >= lowest
        scores.append(found.scores[chosen].astype(np.float64))
        correct.append(hit[chosen])
        labels.append(found.labels[chosen])
    return ScoredDetections(np.concatenate(scores), np.concatenate(correct), np.concatenate(labels))


def expected_calibration_error(
    scores: npt.NDArray[np.float64], correct: npt.NDArray[np.bool_], bins: int = BINS
) -> float | None:
    """Return the expected calibration error, or None without detections.

    It is the mean of |precision - mean score| over ``bins`` equal score intervals, weighted by the number of detections
    in each interval. Source: arXiv 1706.04599, equation 3.
    """
    if not len(scores):
        return None
    index = np.minimum((scores * bins).astype(int), bins - 1)
    # The gap of a bin is |correct - sum of scores|, because its count cancels against its weight.
    gaps = np.bincount(index, correct.astype(float), bins) - np.bincount(index, scores, bins)
    return float(np.abs(gaps).sum() / len(scores))
