# SPDX-License-Identifier: Apache-2.0
"""A node in this process whose inference ends when the test says so, and a log that the test can read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from detector_graph import isolated_context
from rclpy.context import Context
from stand_in_detector import StandIn

from fusion_mamba_ros.perception.detections import Detections
from fusion_mamba_ros.ros.detector.detector_node import DetectorNode
from fusion_mamba_ros.ros.detector.parameters import DetectorParameters
from fusion_mamba_ros.streams.frames import Camera

Active = TypeVar("Active", bound=DetectorNode)
IMAGES: dict[Camera, np.ndarray] = {
    Camera.RGB: np.full((48, 64, 3), 7, np.uint8),
    Camera.THERMAL: np.full((40, 56), 7, np.uint16),
}


class Patient(StandIn):
    """A predictor that blocks until ``go`` is set, and records how many threads called it at the same time."""

    made: list[Patient]

    def __init__(self, parameters: DetectorParameters) -> None:
        super().__init__(parameters)
        self.go = threading.Event()
        self.inside = self.most_inside = 0
        self.made.append(self)

    def predict(self, images: Any, *, reference_size: tuple[int, int] | None = None) -> Detections:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        assert self.go.wait(90)
        self.inside -= 1
        return super().predict(images, reference_size=reference_size)


class Log:
    """Stand-in for the node's logger that keeps the sentences."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def info(self, sentence: str, **_: Any) -> None:
        self.sentences.append(sentence)

    warning = error = info

    def says(self, words: str) -> bool:
        return any(words in sentence for sentence in self.sentences)


@contextmanager
def node_with_patient(make: Callable[[Context], Active]) -> Iterator[Active]:
    """Make a node in a ROS domain of its own. At the end, release every inference and destroy the node."""
    Patient.made = []
    with isolated_context() as context:
        node = make(context)
        yield node
        for predictor in Patient.made:
            predictor.go.set()
        node.destroy_node()
