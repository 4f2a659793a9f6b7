# SPDX-License-Identifier: Apache-2.0
"""A predictor for benchmarks of the node: it sleeps in place of the network and returns ten fixed boxes."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import numpy as np

from fusion_mamba_ros.perception.checkpoint_metadata import CheckpointMetadata
from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.thresholds import Thresholds

_COUNT = 10
_RESULT = Detections(
    np.tile(np.array([10, 20, 60, 120], np.float32), (_COUNT, 1)),
    np.linspace(0.9, 0.3, _COUNT, dtype=np.float32),
    np.zeros(_COUNT, np.int64),
    Mode.FUSED,
)


class SleepingPredictor:
    """Take ``inference_ms`` for each prediction. With ``is_reentrant`` several threads may sleep at once."""

    metadata = CheckpointMetadata(("person",), (640, 480))
    thresholds = Thresholds()
    device = "cpu"
    engine_description = "sleep"
    modes = tuple(Mode)

    def __init__(self, inference_ms: float, *, is_reentrant: bool = True) -> None:
        self.inference_ms = inference_ms
        self.engine = SimpleNamespace(is_reentrant=is_reentrant)

    def warm_up(self) -> tuple[float, ...]:
        """Return no times: nothing is warmed up."""
        return ()

    def reset_stream(self) -> None:
        """Do nothing."""

    def memory_mb(self) -> dict[str, float]:
        """Return no memory: it holds none."""
        return {}

    def free_memory(self) -> None:
        """Do nothing."""

    def predict(self, images: Any, *, reference_size: Any = None) -> Detections:
        """Sleep, then return the same boxes for any images."""
        if self.inference_ms:
            time.sleep(self.inference_ms * 1e-3)
        return _RESULT
