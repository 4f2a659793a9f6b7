# SPDX-License-Identifier: Apache-2.0
"""Dropout of whole images in training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bright_patches import PLAIN, patch_sample

from fusion_mamba_ros.datasets import Augmentation, AugmentationConfig, Sample


def test_each_stream_is_dropped_whole_as_often_as_asked_and_never_both() -> None:
    grey = np.full((64, 96), 120, np.uint8)
    dataset = [Sample("grey", {"rgb": np.dstack([grey] * 3), "thermal": grey})]
    augment = Augmentation(AugmentationConfig(size=(96, 64), modality_dropout={"thermal": 0.2, "rgb": 0.3}))
    generator = np.random.default_rng(0)
    changed = [augment(dataset, 0, generator).images for _ in range(1000)]
    missing = np.array([["rgb" not in images, "thermal" not in images] for images in changed])
    assert not missing.all(axis=1).any()
    # Four standard deviations of a binomial count.
    assert abs(missing[:, 0].mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 1000)
    assert abs(missing[:, 1].mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 1000)


@pytest.mark.parametrize("dropout", [{"thermal": 1.0}, {"rgb+thermal": 1.0}], ids=str)
def test_nothing_is_dropped_where_nothing_would_be_left(dropout: dict[str, float]) -> None:
    lone = Sample("a", {"thermal": patch_sample(0).images["thermal"]})
    changed = Augmentation(replace(PLAIN, modality_dropout=dropout))([lone], 0, np.random.default_rng(0))
    assert list(changed.images) == ["thermal"]


def test_objects_that_only_a_dropped_image_shows_are_dropped_with_it() -> None:
    first, pair = patch_sample(1), patch_sample(2)
    lone = replace(first, images={"rgb": first.images["rgb"]}, name="rgb alone")
    config = replace(PLAIN, mosaic_probability=1.0, modality_dropout={"rgb": 1.0})
    seen = 0
    for seed in range(40):
        changed = Augmentation(config)([lone, pair], 0, np.random.default_rng(seed))
        if "rgb" in changed.images:  # a mosaic of the lone image alone, of which nothing would be left
            continue
        for x1, y1, x2, y2 in np.round(changed.boxes).astype(int):
            if min(x2 - x1, y2 - y1) > 4:
                seen += 1
                assert changed.images["thermal"][y1 + 1 : y2 - 1, x1 + 1 : x2 - 1].min() > 184, f"seed {seed}"
    assert seen > 20


def test_dropout_leaves_one_of_the_modalities_that_the_model_sees() -> None:
    pair = patch_sample(0)
    for seen, left in ((("rgb",), ["rgb", "thermal"]), (("rgb", "thermal"), ["thermal"])):
        augment = Augmentation(replace(PLAIN, modality_dropout={"rgb": 1.0}), modalities=seen)
        assert list(augment([pair], 0, np.random.default_rng(0)).images) == left
    blind = Augmentation(PLAIN, modalities=("thermal",))
    lone = replace(pair, images={"rgb": pair.images["rgb"]})
    assert len(blind([lone], 0, np.random.default_rng(0)).boxes) == 0 < len(pair.boxes)


def test_missing_image_stays_missing() -> None:
    sample = replace(patch_sample(0), images={"rgb": patch_sample(0).images["rgb"]})
    changed = Augmentation(PLAIN)([sample], 0, np.random.default_rng(0))
    # No padding either: the batch puts there what inference puts in place of a missing image.
    assert list(changed.images) == ["rgb"]
