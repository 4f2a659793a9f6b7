# SPDX-License-Identifier: Apache-2.0
"""Task-aligned assignment against a brute-force search."""

import pytest
import torch

from fusion_mamba_ros.training.assigner import TaskAlignedAssigner
from fusion_mamba_ros.training.box_overlap import complete_iou


def random_case(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    grid = torch.stack(torch.meshgrid(torch.arange(8), torch.arange(8), indexing="xy"), -1).reshape(-1, 2) * 8.0 + 4
    batch, objects, classes = 2, 5, 3
    corner = torch.rand(batch, objects, 2, generator=generator) * 40
    size = torch.rand(batch, objects, 2, generator=generator) * 24 + 2
    reach = torch.rand(batch, len(grid), 4, generator=generator) * 16
    return {
        "scores": torch.rand(batch, len(grid), classes, generator=generator),
        "boxes": torch.cat((grid - reach[..., :2], grid + reach[..., 2:]), -1),
        "centres": grid,
        "labels": torch.randint(classes, (batch, objects), generator=generator),
        "targets": torch.cat((corner, corner + size), -1),
        "valid": torch.tensor([[True] * 5, [True, True, True, False, False]]),
    }


def brute_force(case: dict[str, torch.Tensor], top_k: int, minimum_side: float) -> list[dict[int, tuple[int, float]]]:
    """For each image: anchor -> (object, target score), one anchor and one object at a time."""
    images = []
    for image in range(len(case["labels"])):
        wishes: dict[int, list[int]] = {}
        overlap, alignment = {}, {}
        for m in range(case["labels"].shape[1]):
            if not case["valid"][image, m]:
                continue
            x1, y1, x2, y2 = case["targets"][image, m].tolist()
            half_width, half_height = max(x2 - x1, minimum_side) / 2, max(y2 - y1, minimum_side) / 2
            inside = []
            for a, (x, y) in enumerate(case["centres"].tolist()):
                if abs(x - (x1 + x2) / 2) < half_width - 1e-9 and abs(y - (y1 + y2) / 2) < half_height - 1e-9:
                    value = max(float(complete_iou(case["targets"][image, m], case["boxes"][image, a])), 0.0)
                    overlap[a, m] = value
                    score = float(case["scores"][image, a, case["labels"][image, m]])
                    alignment[a, m] = score**0.5 * value**6
                    inside.append(a)
            rank = {a: -alignment[a, m] for a in inside}
            for a in sorted(inside, key=rank.__getitem__)[:top_k]:
                wishes.setdefault(a, []).append(m)
        owners = {a: max(wanted, key={m: overlap[a, m] for m in wanted}.__getitem__) for a, wanted in wishes.items()}
        best_alignment: dict[int, float] = {}
        best_overlap: dict[int, float] = {}
        for a, m in owners.items():
            best_alignment[m] = max(best_alignment.get(m, 0.0), alignment[a, m])
            best_overlap[m] = max(best_overlap.get(m, 0.0), overlap[a, m])
        images.append(
            {a: (m, alignment[a, m] * best_overlap[m] / (best_alignment[m] + 1e-9)) for a, m in owners.items()}
        )
    return images


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("top_k", "minimum_side"), [(10, 0.0), (3, 0.0), (3, 8.0)])
def test_assignment_is_that_of_the_brute_force(seed: int, top_k: int, minimum_side: float) -> None:
    case = random_case(seed)
    assigned = TaskAlignedAssigner(top_k=top_k, minimum_side_px=minimum_side)(**case)
    for image, expected in enumerate(brute_force(case, top_k, minimum_side)):
        # Anchors of no alignment at all are tied, and which of them come among the top does not matter.
        weighty = {a for a, (_, score) in expected.items() if score > 0}
        assert {int(a) for a in assigned.scores[image].sum(-1).nonzero()} == weighty
        for a in weighty:
            m, score = expected[a]
            assert bool(assigned.positive[image, a])
            torch.testing.assert_close(assigned.boxes[image, a], case["targets"][image, m])
            row = torch.zeros(3)
            row[case["labels"][image, m]] = score
            torch.testing.assert_close(assigned.scores[image, a], row, rtol=1e-4, atol=1e-6)


def test_image_without_objects_has_no_positive_anchor() -> None:
    case = random_case(0)
    case |= {"labels": case["labels"][:, :0], "targets": case["targets"][:, :0], "valid": case["valid"][:, :0]}
    assigned = TaskAlignedAssigner()(**case)
    assert not assigned.positive.any()
    assert assigned.scores.sum() == 0


def test_object_between_the_centres_is_learned_only_with_a_minimum_side() -> None:
    case = random_case(1)
    case |= {
        "labels": torch.zeros(2, 1, dtype=torch.int64),
        "targets": torch.tensor([[17.0, 17.0, 19.0, 19.0]]).expand(2, 1, 4),
        "valid": torch.ones(2, 1, dtype=torch.bool),
    }
    assert not TaskAlignedAssigner()(**case).positive.any()
    assert TaskAlignedAssigner(minimum_side_px=8.0)(**case).positive.sum() == 2
