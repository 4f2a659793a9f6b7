# SPDX-License-Identifier: Apache-2.0
"""The real detector node with a stand-in for the network, as a process: `python stand_in_detector.py --ros-args ...`.

The stand-in finds one box per image. Its time is FUSION_MAMBA_STAND_IN_SEC; the value of the first pixel can make it
fail, so that a test decides per frame.
"""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from fusion_mamba_ros.perception.checkpoint_metadata import CheckpointMetadata
from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.predictor import Thresholds
from fusion_mamba_ros.ros.detector.detector_node import DetectorNode
from fusion_mamba_ros.ros.detector.parameters import DetectorParameters
from fusion_mamba_ros.ros.process import run_node

RAISE, EXHAUST_MEMORY, HANG = 201, 202, 203
BOX = (4.0, 6.0, 20.0, 30.0)


class StandIn:
    """Stand-in for the predictor: it sleeps instead of computing."""

    def __init__(self, parameters: DetectorParameters, delay_sec: float = 0.0) -> None:
        if parameters.checkpoint == "bad":
            raise ValueError("checkpoint 'bad' cannot be read")
        self.metadata = CheckpointMetadata(
            ("person", "car"), (64, 64), metrics={"modes": {"fused": {"mAP": 0.5, "mAP50": 0.75}}}
        )
        self.thresholds = Thresholds()
        self.device = "cpu"
        self.engine_description = "stand-in 1.0, fp32"
        self.modes = tuple(Mode)
        self._delay_sec = delay_sec

    def warm_up(self) -> tuple[float, ...]:
        """Do nothing: a stand-in needs no warm-up."""
        return ()

    def reset_stream(self) -> None:
        """Do nothing: a stand-in keeps no state."""

    def memory_mb(self) -> dict[str, float]:
        """Return nothing: a stand-in uses no device."""
        return {}

    def free_memory(self) -> None:
        """Do nothing: a stand-in caches nothing."""

    def predict(self, images: Any, *, reference_size: tuple[int, int] | None = None) -> Detections:
        """Return one box, or fail in the way that the first pixel selects."""
        time.sleep(self._delay_sec)
        command = int(next(iter(images.values())).flat[0])
        if command == RAISE:
            raise RuntimeError("the stand-in was asked to fail")
        if command == EXHAUST_MEMORY:
            raise MemoryError("the stand-in was asked to exhaust memory")
        if command == HANG:
            time.sleep(60)
        mode = Mode.FUSED if len(images) == 2 else Mode.RGB_ONLY if "rgb" in images else Mode.THERMAL_ONLY
        labels = np.zeros(1, np.int64)
        return Detections(np.array([BOX], np.float32), np.array([0.9], np.float32), labels, mode)


if __name__ == "__main__":
    delay_sec = float(os.environ.get("FUSION_MAMBA_STAND_IN_SEC", "0"))
    run_node(
        lambda options: DetectorNode(
            load=lambda parameters: StandIn(parameters, delay_sec),
            share=lambda predictor, parameters: StandIn(parameters, delay_sec),
        )
    )
