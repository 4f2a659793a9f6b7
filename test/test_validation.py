# SPDX-License-Identifier: Apache-2.0
"""Drawn pairs of the validation between epochs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import training_scenes as scenes

from fusion_mamba_ros.datasets import PreparedDataset, open_dataset
from fusion_mamba_ros.network import FusionMambaDetector
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata
from fusion_mamba_ros.perception.detections import Detections
from fusion_mamba_ros.training import validation as module
from fusion_mamba_ros.training.recipe import Recipe
from fusion_mamba_ros.training.trainer import detection_loss
from fusion_mamba_ros.training.validation import Validation


def test_drawn_pairs_are_not_brought_to_rgb_a_second_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(scenes.write_pairs(tmp_path, train=1, val=1), "val")
    recipe = Recipe.from_dict({**scenes.RECIPE, "model": {"scale": "n", "fusion": "add"}}).for_data(dataset.class_names)
    torch.manual_seed(0)
    model = FusionMambaDetector(recipe.model)
    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = 1.0
    with torch.no_grad():
        # Statistics of what there is to see: by those that it starts with, hardly anything reaches the boxes.
        model({"rgb": torch.rand(2, 3, 64, 64), "thermal": torch.rand(2, 1, 64, 64)})
        model.eval()
        branch: Any
        for branch in model.head.class_branches:
            branch[-1].bias.fill_(1.0)  # so that there is something to draw
    drawn: list[Detections] = []

    def note(images: dict[str, np.ndarray], detections: Detections, names: tuple[str, ...]) -> np.ndarray:
        drawn.append(detections)
        return images["rgb"]

    monkeypatch.setattr(module, "draw_images", note)
    for shift in (0.0, 0.5):
        metadata = CheckpointMetadata(dataset.class_names, (64, 64), homography=((1, 0, shift), (0, 1, 0), (0, 0, 1)))
        validation = Validation(
            PreparedDataset(dataset, (64, 64), headroom=None),
            metadata,
            detection_loss(recipe),
            device=torch.device("cpu"),
            batch_size=1,
            drawn=1,
        )
        validation.draw(model)
    assert len(drawn[0].boxes) > 0
    np.testing.assert_array_equal(drawn[0].boxes, drawn[1].boxes)
