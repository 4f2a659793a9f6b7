# SPDX-License-Identifier: Apache-2.0
"""The detection loss against loops in float64."""

import math

import numpy as np
import pytest
import torch

from fusion_mamba_ros.network import ModelConfig
from fusion_mamba_ros.network.head import DetectionHead
from fusion_mamba_ros.training.assigner import TaskAlignedAssigner
from fusion_mamba_ros.training.box_overlap import complete_iou
from fusion_mamba_ros.training.loss import DetectionLoss, Targets, distribution_focal_loss


def raw_maps(seed: int, batch: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, 67, 64 // s, 96 // s, generator=generator) for s in (8, 16, 32)]


def two_images() -> Targets:
    return Targets(
        torch.tensor([[0, 2], [1, 0]]),
        torch.tensor([[[10.0, 8, 40, 50], [50, 20, 90, 60]], [[5, 5, 60, 60], [0, 0, 0, 0]]]),
        torch.tensor([[True, True], [True, False]]),
    )


def test_focal_loss_splits_a_side_between_its_two_bins() -> None:
    logits = torch.randn(1, 4, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sides = torch.tensor([[0.0, 3.25, 7.5, 99.0]], dtype=torch.float64)
    logs = logits[0] - logits[0].exp().sum(-1, keepdim=True).log()
    expected = -(
        logs[0, 0]
        + (0.75 * logs[1, 3] + 0.25 * logs[1, 4])
        + (0.5 * logs[2, 7] + 0.5 * logs[2, 8])
        + (0.01 * logs[3, 14] + 0.99 * logs[3, 15])
    )
    torch.testing.assert_close(distribution_focal_loss(logits, sides), expected[None] / 4)


def test_loss_is_that_of_a_loop_in_float64() -> None:
    head, levels, targets = DetectionHead(ModelConfig(classes=3)), raw_maps(1), two_images()
    assigner = TaskAlignedAssigner()
    terms = DetectionLoss(assigner)(head, levels, targets)

    box = focal = classes = total = 0.0
    decoded = head.decode(levels).detach()
    centres = torch.tensor(
        [[(x + 0.5) * s, (y + 0.5) * s] for s in (8, 16, 32) for y in range(64 // s) for x in range(96 // s)]
    )
    strides = [s for s in (8, 16, 32) for _ in range((64 // s) * (96 // s))]
    assigned = assigner(decoded[..., 4:], decoded[..., :4], centres, targets.labels, targets.boxes, targets.valid)
    flat = np.concatenate([level.double().flatten(2).numpy() for level in levels], axis=2)
    for image in range(2):
        for a in range(len(strides)):
            total += float(assigned.scores[image, a].sum())
            for c in range(3):
                logit, target = flat[image, 64 + c, a], float(assigned.scores[image, a, c])
                probability = 1 / (1 + math.exp(-logit))
                classes -= target * math.log(probability) + (1 - target) * math.log(1 - probability)
            if not assigned.positive[image, a]:
                continue
            weight = float(assigned.scores[image, a].sum())
            wanted = assigned.boxes[image, a].double()
            overlap = float(complete_iou(decoded[image, a, :4].double(), wanted))
            box += (1 - overlap) * weight
            x, y = centres[a].tolist()
            sides = [x - wanted[0], y - wanted[1], wanted[2] - x, wanted[3] - y]
            for k, side in enumerate(sides):
                place = min(max(float(side) / strides[a], 0), 14.99)
                logits = flat[image, 16 * k : 16 * (k + 1), a]
                logs = logits - math.log(np.exp(logits).sum())
                low = int(place)
                focal -= (logs[low] * (low + 1 - place) + logs[low + 1] * (place - low)) / 4 * weight
    assert total > 1
    assert float(terms.box.detach()) == pytest.approx(7.5 * box / total, rel=1e-4)
    assert float(terms.distribution.detach()) == pytest.approx(1.5 * focal / total, rel=1e-4)
    assert float(terms.classes.detach()) == pytest.approx(0.5 * classes / total, rel=1e-4)


def test_true_negative_image_still_teaches_the_classes() -> None:
    head, levels = DetectionHead(ModelConfig(classes=3)), raw_maps(2, batch=1)
    nothing = Targets(torch.zeros(1, 0, dtype=torch.int64), torch.zeros(1, 0, 4), torch.zeros(1, 0, dtype=torch.bool))
    terms = DetectionLoss()(head, levels, nothing)
    logits = torch.cat([level[:, 64:].flatten(2) for level in levels], dim=2)
    expected = 0.5 * torch.nn.functional.softplus(logits).sum()
    assert (float(terms.box), float(terms.distribution)) == (0.0, 0.0)
    torch.testing.assert_close(terms.classes, expected, rtol=1e-5, atol=1e-5)


def test_normaliser_is_what_the_reduction_returns() -> None:
    head, levels, targets = DetectionHead(ModelConfig(classes=3)), raw_maps(3), two_images()
    alone, with_others = DetectionLoss(), DetectionLoss()
    one = alone(head, levels, targets).total
    other = with_others(head, levels, targets, lambda total: 4 * total.clamp(min=1.0)).total
    assert 1.0 < float((one / other).detach()) <= 4.0 + 1e-4


def test_padding_of_objects_does_not_matter() -> None:
    head, levels, targets = DetectionHead(ModelConfig(classes=3)), raw_maps(4), two_images()
    padded = Targets(
        torch.cat((targets.labels, torch.ones(2, 3, dtype=torch.int64)), 1),
        torch.cat((targets.boxes, torch.full((2, 3, 4), 30.0)), 1),
        torch.cat((targets.valid, torch.zeros(2, 3, dtype=torch.bool)), 1),
    )
    torch.testing.assert_close(
        DetectionLoss()(head, levels, padded).total, DetectionLoss()(head, levels, targets).total
    )
