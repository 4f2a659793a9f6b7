# SPDX-License-Identifier: Apache-2.0
"""Fit the calibration of a detector to its detections on a validation set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.datasets.problems import DatasetError
from fusion_mamba_ros.evaluation.calibration_error import as_deployed, expected_calibration_error, scored_detections
from fusion_mamba_ros.evaluation.detection_results import DetectionResults
from fusion_mamba_ros.evaluation.operating_point import best_operating_point
from fusion_mamba_ros.perception.calibration import Calibration
from fusion_mamba_ros.perception.detections import Detections

# A class with fewer correct or fewer false detections than this keeps its scores (temperature 1).
MINIMUM_COUNT = 10
_RANGE = (0.1, 10.0)
_STEPS = 50


def fit_temperature(logits: npt.NDArray[np.float64], correct: npt.NDArray[np.bool_]) -> float:
    """Return the maximum-likelihood temperature, limited to 0.1 to 10.

    The negative log-likelihood is convex in the inverse temperature. The function minimises it with Newton's method. It
    halves each step until the loss decreases.
    """

    def loss(inverse: float) -> float:
        return float(np.logaddexp(0.0, np.where(correct, -1.0, 1.0) * inverse * logits).sum())

    inverse = 1.0
    for _ in range(_STEPS):
        probability = 1 / (1 + np.exp(-inverse * logits))
        gradient = float(((probability - correct) * logits).sum())
        curvature = float((probability * (1 - probability) * logits**2).sum())
        step = gradient / max(curvature, 1e-12)
        candidate = inverse
        while abs(step) > 1e-10:
            candidate = float(np.clip(inverse - step, 1 / _RANGE[1], 1 / _RANGE[0]))
            if loss(candidate) < loss(inverse):
                break
            step /= 2
        if abs(step) <= 1e-10:
            break
        inverse = candidate
    return 1 / inverse


def fit_calibration(results: DetectionResults) -> Calibration:
    """Return the calibration of raw scores, fitted to ``results`` after the NMS of predictor and node.

    Raises ``DatasetError`` if there is no true box or no correct detection.
    """
    deployed = as_deployed(results)
    found = scored_detections(deployed)
    temperatures = []
    for label in range(len(results.class_names)):
        chosen = found.labels == label
        scores, correct = found.scores[chosen], found.correct[chosen]
        if min(correct.sum(), (~correct).sum()) < MINIMUM_COUNT:
            temperatures.append(1.0)
            continue
        limited = np.clip(scores, 1e-6, 1 - 1e-6)
        temperatures.append(round(fit_temperature(np.log(limited / (1 - limited)), correct), 4))
    calibrated = calibrated_results(deployed, Calibration(tuple(temperatures), 0.0))
    point = best_operating_point(calibrated)
    if point is None or not point.f1:
        raise DatasetError("no detection on this data is correct: a calibration cannot be fitted to it")
    after = scored_detections(calibrated)
    fitted = {
        "mode": results.mode.value,
        "images": len(results.images),
        "detections": len(found.scores),
        "expected_calibration_error_before": expected_calibration_error(found.scores, found.correct),
        "expected_calibration_error": expected_calibration_error(after.scores, after.correct),
        "f1": point.f1,
    }
    return Calibration(tuple(temperatures), point.score_threshold, fitted)


def calibrated_results(results: DetectionResults, calibration: Calibration) -> DetectionResults:
    """Return the results with calibrated scores. The detections of each image are sorted by score, best first."""
    images = []
    for image in results.images:
        found = image.detections
        columns = np.repeat(found.scores[:, None], len(results.class_names), axis=1)
        scores = calibration.apply(columns)[np.arange(len(found)), found.labels]
        order = np.argsort(-scores, kind="stable")
        detections = Detections(found.boxes[order], scores[order], found.labels[order], found.mode)
        images.append(replace(image, detections=detections))
    return replace(results, images=tuple(images))
