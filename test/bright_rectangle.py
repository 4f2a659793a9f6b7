# SPDX-License-Identifier: Apache-2.0
"""A network that finds what is bright, and images for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fusion_mamba_ros.network import ModelConfig
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata
from fusion_mamba_ros.perception.predictor import Predictor
from fusion_mamba_ros.perception.torch_engine import TorchEngine

CLASSES = ("person", "car")
METADATA = CheckpointMetadata(CLASSES, (320, 256))


class BrightRectangle(nn.Module):
    """Stands where the network stands: one box around what is bright, class 0 in RGB and class 1 in thermal."""

    def __init__(self, modalities: Any = ("rgb", "thermal")) -> None:
        super().__init__()
        self.config = ModelConfig(classes=2, modalities=modalities)
        self.seen: list[dict[str, torch.Tensor]] = []

    def forward(self, images: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        self.seen.append(images)
        return list(images.values())

    def decode(self, levels: list[torch.Tensor]) -> torch.Tensor:
        images = dict(zip(self.seen[-1], levels, strict=True))
        rows = []
        for index, name in enumerate(("rgb", "thermal")):
            for image in images[name].mean(1) if name in images else ():
                y, x = torch.nonzero(image > 0.75, as_tuple=True)
                box = [0.0, 0, 0, 0] if not len(x) else [x.min(), y.min(), x.max() + 1, y.max() + 1]
                scores = [0.0, 0.0]
                scores[index] = 0.9 if len(x) else 0.0
                rows.append(torch.tensor([*box, *scores]))
        batch = len(next(iter(images.values())))
        return torch.stack(rows).reshape(-1, batch, 6).transpose(0, 1)


def stand_in(modalities: Sequence[str] | dict[str, int] = ("rgb", "thermal")) -> Any:
    return BrightRectangle(modalities)


def model_of(predictor: Predictor) -> Any:
    assert isinstance(predictor.engine, TorchEngine)
    return predictor.engine.model


def filled_image(
    width: int, height: int, box: Sequence[int] | None = None, level: int = 255, channels: tuple[int, ...] = ()
) -> npt.NDArray[np.uint8]:
    image = np.full((height, width, *channels), 20, np.uint8)
    if box is not None:
        x1, y1, x2, y2 = box
        image[y1:y2, x1:x2] = level
    return image


def rgb_image(width: int = 640, height: int = 480, box: Sequence[int] | None = None) -> npt.NDArray[np.uint8]:
    return filled_image(width, height, box, channels=(3,))
