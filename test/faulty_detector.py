# SPDX-License-Identifier: Apache-2.0
"""The detector node with the weights of the package, whose inference fails on command: `python faulty_detector.py`.

The first pixel of an image is the command, so that a test decides per frame.
"""

from __future__ import annotations

import time
from typing import Any

import torch

from fusion_mamba_ros.perception.detections import Detections
from fusion_mamba_ros.perception.predictor import Predictor
from fusion_mamba_ros.perception.torch_engine import TorchEngine
from fusion_mamba_ros.ros.detector.detector_node import DetectorNode
from fusion_mamba_ros.ros.detector.parameters import DetectorParameters
from fusion_mamba_ros.ros.detector.predictor_loading import load_predictor, share_engine
from fusion_mamba_ros.ros.process import run_node

RAISE, HANG, SLOW, NAN, STALL = 201, 203, 204, 205, 206
HANG_SEC, SLOW_SEC, STALL_SEC = 8.0, 1.2, 2.0


class FaultyPredictor:
    """A predictor that obeys commands; everything else is the predictor's."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        assert isinstance(predictor.engine, TorchEngine)
        self._bias = next(
            p for n, p in predictor.engine.model.named_parameters() if n.startswith("head.class_branches")
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._predictor, name)

    def __setattr__(self, name: str, value: Any) -> None:
        target = self if name.startswith("_") else self._predictor
        object.__setattr__(target, name, value)

    def predict(self, images: Any, *, reference_size: tuple[int, int] | None = None) -> Detections:
        """Return the predictor's detections, or do as the first pixel asks."""
        command = int(next(iter(images.values())).flat[0])
        if command == RAISE:
            raise RuntimeError("the detector was asked to fail")
        time.sleep({HANG: HANG_SEC, SLOW: SLOW_SEC, STALL: STALL_SEC}.get(command, 0.0))
        if command != NAN:
            return self._predictor.predict(images, reference_size=reference_size)
        with torch.no_grad():
            kept = self._bias.clone()
            self._bias.fill_(float("nan"))
            try:
                return self._predictor.predict(images, reference_size=reference_size)
            finally:
                self._bias.copy_(kept)


def load(parameters: DetectorParameters) -> Any:
    """Return the predictor that the parameters ask for, ready to fail."""
    return FaultyPredictor(load_predictor(parameters))


def share(predictor: FaultyPredictor, parameters: DetectorParameters) -> Any:
    """Return a predictor for another camera pair."""
    return FaultyPredictor(share_engine(predictor._predictor, parameters))


if __name__ == "__main__":
    run_node(lambda options: DetectorNode(load=load, share=share))
