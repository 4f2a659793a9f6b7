# SPDX-License-Identifier: Apache-2.0
"""A short drive with true boxes, and its evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evaluation_bags import (
    BOX,
    FAR_BOX,
    Message,
    OneBoxDetector,
    boxes,
    rgb,
    thermal,
)

from fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bag import evaluate_bag
from fusion_mamba_ros.evaluation.bag_evaluation.options import BagEvaluationOptions
from fusion_mamba_ros.evaluation.bag_evaluation.scenario import Scenario

TRUE = [("person", BOX, 1.0)]
BOTH = [*TRUE, ("car", FAR_BOX, 1.0)]
TRUTH = "/ground_truth"


def drive(count: int = 10, truth: Any = TRUE, cameras: Any = (rgb, thermal)) -> list[Message]:
    """Return the messages of a drive in order: both cameras and the true boxes of every frame."""
    messages = []
    for index in range(count):
        messages += [camera(index) for camera in cameras]
        messages.append(boxes(TRUTH, index, truth))
    return messages


def evaluate(path: Path, *, detector: Any = None, scenario: Scenario | None = None, **options: Any) -> Any:
    given = BagEvaluationOptions(**{"ground_truth": TRUTH, **options})
    stand_in: Any = detector or OneBoxDetector()
    return evaluate_bag(path, given, load_predictor=lambda: stand_in, scenario=scenario)
