# SPDX-License-Identifier: Apache-2.0
"""The detector node with the weights of the package, whose inference fails on command: `python faulty_detector.py`.

The first pixel of an image is the command, so that a test decides per frame.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
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
        self._poisoned = _poisoned_weights if isinstance(predictor.engine, TorchEngine) else _poisoned_session

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
        with self._poisoned(self._predictor.engine):
            return self._predictor.predict(images, reference_size=reference_size)


@contextmanager
def _poisoned_weights(engine: Any) -> Iterator[None]:
    """Let the network of PyTorch compute NaN."""
    bias = next(p for n, p in engine.model.named_parameters() if n.startswith("head.class_branches"))
    with torch.no_grad():
        kept = bias.clone()
        bias.fill_(float("nan"))
        try:
            yield
        finally:
            bias.copy_(kept)


@contextmanager
def _poisoned_session(engine: Any) -> Iterator[None]:
    """Let the session of ONNX Runtime return NaN: the weights of a file cannot be changed once it is loaded."""
    session = engine._session
    poisoned = [np.nan * value for value in session.run(None, _black(session))]
    engine._session = SimpleNamespace(run=lambda names, inputs: poisoned)
    try:
        yield
    finally:
        engine._session = session


def _black(session: Any) -> dict[str, np.ndarray]:
    return {value.name: np.zeros((1, *value.shape[1:]), np.uint8) for value in session.get_inputs()}


def load(parameters: DetectorParameters) -> Any:
    """Return the predictor that the parameters ask for, ready to fail."""
    return FaultyPredictor(load_predictor(parameters))


def share(predictor: FaultyPredictor, parameters: DetectorParameters) -> Any:
    """Return a predictor for another camera pair."""
    return FaultyPredictor(share_engine(predictor._predictor, parameters))


if __name__ == "__main__":
    run_node(lambda options: DetectorNode(load=load, share=share))
