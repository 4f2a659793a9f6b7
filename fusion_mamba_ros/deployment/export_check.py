# SPDX-License-Identifier: Apache-2.0
"""Compare an exported model in ONNX Runtime with the same detector in PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnxruntime
import torch

from fusion_mamba_ros.deployment.exported_model import ROWS_OUTPUT
from fusion_mamba_ros.deployment.onnxruntime_engine import session_options
from fusion_mamba_ros.network import FusionMambaDetector

_MOST_BOX_PIXELS = 1e-2
_MOST_SCORE = 1e-4


@dataclass(frozen=True)
class Agreement:
    """The largest difference of box coordinates, in pixels of the canvas, and of scores."""

    box_pixels: float
    score: float

    @property
    def holds(self) -> bool:
        """Whether the differences are within the tolerance of an fp32 export. NaN is not."""
        return self.box_pixels <= _MOST_BOX_PIXELS and self.score <= _MOST_SCORE


def compare_with_pytorch(
    model: bytes, detector: FusionMambaDetector, size: tuple[int, int], batch: int, *, scan_operator: bool = True
) -> Agreement:
    """Run ``batch`` random images of ``size`` (width, height) through ``model`` and ``detector``.

    ``scan_operator``: whether the model needs the operator of the scan.
    """
    random = np.random.default_rng(0)
    images = {
        name: random.integers(0, 256, (batch, channels, size[1], size[0]), np.uint8)
        for name, channels in detector.config.modalities.items()
    }
    options = session_options(torch.get_num_threads(), scan_operator=scan_operator)
    (found,) = onnxruntime.InferenceSession(model, options).run([ROWS_OUTPUT], images)
    with torch.inference_mode():
        tensors = {name: torch.from_numpy(image).float() / 255.0 for name, image in images.items()}
        expected = detector.decode(detector(tensors)).numpy()
    difference = np.abs(found - expected)
    return Agreement(float(difference[..., :4].max()), float(difference[..., 4:].max()))
