# SPDX-License-Identifier: Apache-2.0
"""Objects copied from one pair into another, in both images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bright_patches import PLAIN, SIZE, patch_sample

from fusion_mamba_ros.datasets import Augmentation, Sample
from fusion_mamba_ros.datasets.copy_paste_augmentation import paste_objects


def empty(size: tuple[int, int] = (320, 256), level: int = 0) -> Sample:
    grey = np.full((size[1], size[0]), level, np.uint8)
    return Sample("empty", {"rgb": np.dstack([grey] * 3), "thermal": grey}, group="night")


@pytest.mark.parametrize("seed", range(12))
def test_object_comes_in_both_images_at_its_box_with_its_size_and_height(seed: int) -> None:
    print(f"seed {seed}")
    donor = replace(patch_sample(seed, size=(640, 512)), labels=np.array([2]))
    changed = paste_objects(empty(), donor, 1, np.random.default_rng(seed))
    assert changed.labels.tolist() == [2] and (changed.name, changed.group) == ("empty", "night")
    x1, y1, x2, y2 = changed.boxes[0].astype(int)
    expected = donor.boxes[0] / 2
    assert abs(y1 - expected[1]) <= 1 and abs((x2 - x1) - (expected[2] - expected[0])) <= 1
    for image in (changed.images["rgb"][..., 0], changed.images["thermal"]):
        inside = image[y1:y2, x1:x2]
        # Soft for two pixels, then the object; nothing beside it.
        assert (inside[2:-2, 2:-2] == 255).all() and image.astype(int).sum() == inside.astype(int).sum()
        np.testing.assert_array_equal(inside[len(inside) // 2, :3], [85, 170, 255])
    assert not empty().images["thermal"].any()


def test_the_given_images_stay_as_they_are() -> None:
    sample, donor = empty(), patch_sample(0)
    paste_objects(sample, donor, 3, np.random.default_rng(0))
    assert not sample.images["rgb"].any() and not sample.images["thermal"].any() and not len(sample.boxes)


@pytest.mark.parametrize("seed", range(20))
def test_objects_that_are_there_stay_visible(seed: int) -> None:
    print(f"seed {seed}")
    sample, donor = patch_sample(seed, patches=4), patch_sample(100 + seed, patches=4)
    changed = paste_objects(sample, donor, 1, np.random.default_rng(seed))
    np.testing.assert_array_equal(changed.boxes[:4], sample.boxes)
    for box in changed.boxes[4:]:
        for there in sample.boxes:
            width, height = np.minimum(box[2:], there[2:]) - np.maximum(box[:2], there[:2])
            area = (there[2] - there[0]) * (there[3] - there[1])
            assert max(width, 0) * max(height, 0) <= 0.3 * area + 1e-3


def test_no_place_no_object_and_a_stream_less_no_object() -> None:
    rows = np.array([[0, y, 320, y + 8] for y in range(0, 256, 8)], np.float32)
    whole = replace(empty(), boxes=rows, labels=np.zeros(32, np.int64))
    wide = Sample("wide", whole.images, np.array([[0, 8, 320, 250]], np.float32), np.zeros(1, np.int64))
    assert len(paste_objects(whole, wide, 1, np.random.default_rng(0)).boxes) == 32
    lone = replace(empty(), images={"thermal": empty().images["thermal"]})
    assert paste_objects(lone, patch_sample(0), 3, np.random.default_rng(0)) is lone
    assert paste_objects(empty(), empty(), 3, np.random.default_rng(0)).boxes.shape == (0, 4)


def test_objects_come_from_pairs_of_the_same_group() -> None:
    class Grouped(list[Any]):
        groups = ("night", "day", "night")

    # Label 1 by day, 2 by night.
    day, night = (replace(patch_sample(0), group=g, labels=np.array([n])) for g, n in (("day", 1), ("night", 2)))
    augment = Augmentation(replace(PLAIN, copy_paste_probability=1.0, copy_paste_objects=1))
    dataset = Grouped([empty(), day, night])
    found = [augment(dataset, 0, np.random.default_rng(seed)).labels.tolist() for seed in range(40)]
    assert [2] in found and [1] not in found


def test_augmentation_pastes_as_often_as_asked_and_up_to_so_many() -> None:
    dataset = [empty(), *(patch_sample(seed, patches=5) for seed in range(4))]
    augment = Augmentation(replace(PLAIN, copy_paste_probability=0.5, copy_paste_objects=2))
    counts = [len(augment(dataset, 0, np.random.default_rng(seed)).boxes) for seed in range(200)]
    assert set(counts) == {0, 1, 2}
    # One donor in five is empty; four standard deviations.
    assert abs(np.count_nonzero(counts) - 80) < 4 * np.sqrt(200 * 0.4 * 0.6)
    assert SIZE == (320, 256)
