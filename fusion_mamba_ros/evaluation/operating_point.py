# SPDX-License-Identifier: Apache-2.0
"""Find the operating point of a detector: the score threshold with the highest F1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fusion_mamba_ros.evaluation.box_matching import match_image
from fusion_mamba_ros.evaluation.detection_results import DetectionResults


@dataclass(frozen=True)
class OperatingPoint:
    """Precision, recall and F1 over all classes together at one score threshold, IoU 0.5."""

    score_threshold: float
    precision: float
    recall: float
    f1: float


def best_operating_point(results: DetectionResults, lowest: float = 0.05) -> OperatingPoint | None:
    """Return the operating point with the highest F1 among thresholds of at least ``lowest``, None without true boxes.

    Matching proceeds from the highest score down, so one pass at ``lowest`` gives the matches of every threshold.
    """
    scores, correct, boxes = [np.zeros(0, np.float32)], [np.zeros(0, bool)], 0
    for image in results.images:
        matches = match_image(image, lowest)
        hit = np.zeros(len(image.detections), bool)
        hit[matches.pairs[:, 1]] = True
        chosen = image.detections.scores >= lowest
        scores.append(image.detections.scores[chosen])
        correct.append(hit[chosen])
        boxes += len(image.truth_labels)
    if not boxes:
        return None
    every, hits = np.concatenate(scores), np.concatenate(correct)
    if not hits.any():
        return OperatingPoint(lowest, 0.0, 0.0, 0.0)
    order = np.argsort(-every, kind="stable")
    true_positives, count = np.cumsum(hits[order]), np.arange(1, len(order) + 1)
    f1 = 2 * true_positives / (count + boxes)
    # A threshold keeps or drops all detections of equal score together.
    last_of_score = np.append(np.diff(every[order]) != 0, True)
    best = int(np.where(last_of_score, f1, -1).argmax())
    threshold = float(every[order][best])
    return OperatingPoint(
        threshold, float(true_positives[best] / count[best]), float(true_positives[best] / boxes), float(f1[best])
    )
