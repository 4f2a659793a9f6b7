# SPDX-License-Identifier: Apache-2.0
"""Detections and true boxes for tests of the metrics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusion_mamba_ros.evaluation.detection_results import DetectionResults, ImageResult
from fusion_mamba_ros.perception.detections import Detections, Mode

Box = tuple[float, float, float, float]


def image(
    name: str, truth: Sequence[tuple[Box, int]], found: Sequence[tuple[Box, int, float]], group: str = ""
) -> ImageResult:
    ordered = sorted(found, key=lambda item: -item[2])
    detections = Detections(
        np.array([box for box, _, _ in ordered], np.float32).reshape(-1, 4),
        np.array([score for _, _, score in ordered], np.float32),
        np.array([label for _, label, _ in ordered], np.int64),
    )
    boxes = np.array([box for box, _ in truth], np.float32).reshape(-1, 4)
    return ImageResult(name, boxes, np.array([label for _, label in truth], np.int64), detections, group)


def results(images: Sequence[ImageResult], class_names: Sequence[str]) -> DetectionResults:
    return DetectionResults(tuple(class_names), Mode.FUSED, tuple(images))


def random_results(
    seed: int, *, images: int = 20, classes: int = 3, noise_count: int = 30, jitter_px: float = 6.0, truth_seed: int = 0
) -> DetectionResults:
    """Return boxes of all sizes, most found with an error of ``jitter_px``, among ``noise_count`` false alarms each.

    Results of one ``truth_seed`` have the same true boxes.
    """
    truth_rng, rng = np.random.default_rng([truth_seed, images]), np.random.default_rng([seed, 1])
    cases = []
    for index in range(images):
        count = int(truth_rng.integers(0, 20))
        corner = truth_rng.uniform(0, 400, (count, 2))
        truth = np.hstack([corner, corner + truth_rng.uniform(8, 150, (count, 2))])
        labels = truth_rng.integers(0, classes, count)
        hit = rng.random(count) < 0.8
        near = truth[hit] + rng.normal(0, jitter_px, (int(hit.sum()), 4))
        far = rng.uniform(0, 400, (noise_count, 2))
        boxes = np.vstack([near, np.hstack([far, far + rng.uniform(8, 150, (noise_count, 2))])])
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        # Rounded, so that ties occur as they do with fp16 scores.
        scores = np.concatenate([rng.uniform(0.2, 1, len(near)), rng.uniform(0, 0.7, noise_count)]).round(3)
        found_labels = np.concatenate([labels[hit], rng.integers(0, classes, noise_count)])
        rows = zip(boxes.tolist(), found_labels.tolist(), scores.tolist(), strict=True)
        cases.append(
            image(
                f"image{index}",
                list(zip(map(tuple, truth.tolist()), labels.tolist(), strict=True)),
                [(tuple(box), label, score) for box, label, score in rows],
                group="day" if index % 2 else "night",
            )
        )
    return results(cases, [f"class{index}" for index in range(classes)])
