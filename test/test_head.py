# SPDX-License-Identifier: Apache-2.0
"""The detection head: decoding and initial biases."""

from typing import Any

import torch

from fusion_mamba_ros.network import ModelConfig
from fusion_mamba_ros.network.head import DetectionHead


def test_box_is_decoded_from_the_mean_of_each_side() -> None:
    head = DetectionHead(ModelConfig(classes=2))
    levels = [torch.zeros(1, 4 * 16 + 2, 64 // s, 96 // s) for s in (8, 16, 32)]
    # At stride 16, row 1, column 2: left 1, top 2, right 3, bottom half way between 4 and 5.
    sides = levels[1][0, :64, 1, 2].view(4, 16)
    sides[0, 1] = sides[1, 2] = sides[2, 3] = 100.0
    sides[3, 4] = sides[3, 5] = 100.0
    levels[1][0, 64:, 1, 2] = torch.tensor([0.0, -2.0])
    with torch.no_grad():
        decoded = head.decode(levels)
    assert decoded.shape == (1, 8 * 12 + 4 * 6 + 2 * 3, 6)
    anchor = decoded[0, 8 * 12 + 1 * 6 + 2]
    centre_x, centre_y = 2.5 * 16, 1.5 * 16
    box = torch.tensor([centre_x - 16, centre_y - 32, centre_x + 48, centre_y + 4.5 * 16])
    torch.testing.assert_close(anchor[:4], box)
    torch.testing.assert_close(anchor[4:], torch.tensor([0.5, 1 / (1 + torch.e**2)]))


def test_flat_distribution_means_the_middle_bin() -> None:
    head = DetectionHead(ModelConfig(classes=1))
    levels = [torch.zeros(1, 65, 32 // s, 32 // s) for s in (8, 16, 32)]
    with torch.no_grad():
        box = head.decode(levels)[0, -1, :4]
    torch.testing.assert_close(box, torch.tensor([16 - 7.5 * 32, 16 - 7.5 * 32, 16 + 7.5 * 32, 16 + 7.5 * 32]))


def test_new_head_expects_few_objects() -> None:
    head = DetectionHead(ModelConfig(classes=3))
    branches: Any = head.class_branches
    expected = sum(
        branch[-1].bias.sigmoid().sum().item() * (640 / s) ** 2 for s, branch in zip((8, 16, 32), branches, strict=True)
    )
    assert 14 < expected < 16  # five at each level
