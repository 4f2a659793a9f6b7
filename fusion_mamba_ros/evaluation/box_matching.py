# SPDX-License-Identifier: Apache-2.0
"""Match the detections of one image to its true boxes at a score threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.evaluation.detection_results import DetectionResults, ImageResult


@dataclass(frozen=True)
class ImageMatches:
    """Matches between the detections and the true boxes of one image.

    ``pairs`` (m, 2): index of the true box, index of the detection. ``misses``: indices of the true boxes without a
    detection. ``false_alarms``: indices of the detections without a true box.
    """

    pairs: npt.NDArray[np.int64]
    misses: npt.NDArray[np.int64]
    false_alarms: npt.NDArray[np.int64]


def intersection_over_union(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the IoU (n, m) of boxes ``a`` (n, 4) and ``b`` (m, 4), both x1 y1 x2 y2."""
    first, second = np.asarray(a, np.float64)[:, None], np.asarray(b, np.float64)[None]
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    intersection = np.clip(sides, 0, None).prod(axis=-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(axis=-1) for boxes in (first, second)]
    overlaps: npt.NDArray[np.float64] = intersection / np.maximum(areas[0] + areas[1] - intersection, 1e-12)
    return overlaps


def match_image(
    image: ImageResult, score_threshold: float, *, iou_threshold: float = 0.5, same_class: bool = True
) -> ImageMatches:
    """Return the matches of the detections with a score of at least ``score_threshold``.

    Detections are matched in the order of ``image.detections``, which is best score first. Each detection takes the
    unmatched true box with the highest IoU, if this IoU is at least ``iou_threshold``. With ``same_class=False``,
    a second pass matches the remaining detections to true boxes of any class (confusion matrix).
    """
    detections = image.detections
    chosen = np.flatnonzero(detections.scores >= score_threshold)
    overlap = intersection_over_union(image.truth_boxes, detections.boxes[chosen])
    agree = image.truth_labels[:, None] == detections.labels[chosen][None]
    free = np.ones(len(image.truth_labels), bool)
    found: dict[int, int] = {}
    for with_class in (True,) if same_class else (True, False):
        for column, detection in enumerate(chosen.tolist()):
            if detection in found or not free.any():
                continue
            candidates = np.where(free & (agree[:, column] | (not with_class)), overlap[:, column], -1.0)
            best = int(candidates.argmax())
            if candidates[best] >= iou_threshold:
                free[best] = False
                found[detection] = best
    pairs = np.array([(truth, detection) for detection, truth in found.items()], np.int64).reshape(-1, 2)
    return ImageMatches(pairs, np.flatnonzero(free), np.setdiff1d(chosen, pairs[:, 1]))


def confusion_matrix(results: DetectionResults, score_threshold: float) -> npt.NDArray[np.int64]:
    """Return the confusion matrix (classes + 1, classes + 1) at IoU 0.5: rows are true, columns detected classes.

    The last column counts misses, the last row counts false alarms.
    """
    nothing = len(results.class_names)
    matrix = np.zeros((nothing + 1, nothing + 1), np.int64)
    for image in results.images:
        matches = match_image(image, score_threshold, same_class=False)
        truth, found = image.truth_labels, image.detections.labels
        for truth_index, detection in matches.pairs:
            matrix[truth[truth_index], found[detection]] += 1
        matrix[:-1, nothing] += np.bincount(truth[matches.misses], minlength=nothing)
        matrix[nothing, :-1] += np.bincount(found[matches.false_alarms], minlength=nothing)
    return matrix
