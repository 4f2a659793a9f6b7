# SPDX-License-Identifier: Apache-2.0
"""Haze, smoke and darkness: RGB loses its contrast by a known law, thermal and the boxes stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bright_patches import PLAIN, SIZE, patch_sample

from fusion_mamba_ros.datasets import Augmentation
from fusion_mamba_ros.datasets.darkness_augmentation import darken
from fusion_mamba_ros.datasets.haze_augmentation import haze, veil
from fusion_mamba_ros.datasets.noise_bank import NoiseBank
from fusion_mamba_ros.datasets.smoke_augmentation import cloud_field, smoke

NOISE = NoiseBank(SIZE)


def two_levels() -> tuple[np.ndarray, np.ndarray]:
    """Return a dark and a bright image: what differs between them afterwards is the contrast that is left."""
    return np.full((SIZE[1], SIZE[0], 3), 20, np.uint8), np.full((SIZE[1], SIZE[0], 3), 220, np.uint8)


def contrast(change: Callable[..., np.ndarray], seed: int) -> np.ndarray:
    """Return the share of the contrast that ``change`` leaves at each pixel (H, W)."""
    dark, bright = (change(image, np.random.default_rng(seed)).astype(float) for image in two_levels())
    share: np.ndarray = (bright - dark)[..., 0] / 200
    return share


def test_veil_is_koschmieders_law() -> None:
    rng = np.random.default_rng(0)
    image, t = rng.integers(0, 256, (20, 30, 3)).astype(np.uint8), rng.random((20, 30))
    expected = image * t[..., None] + 180.0 * (1 - t[..., None])
    assert np.abs(veil(image, t, 180.0) - expected).max() <= 0.51


@pytest.mark.parametrize("seed", range(8))
def test_haze_takes_more_contrast_the_higher_in_the_image_and_no_more_than_asked(seed: int) -> None:
    left = contrast(lambda image, generator: haze(image, 0.2, generator), seed)
    assert np.abs(left - left[:, :1]).max() < 0.02
    assert (np.diff(left[:, 0]) > -0.02).all() and left[0, 0] >= 0.19
    # exp(-b d) with d linear: the logarithm is a straight line.
    logs, rows = np.log(left[:, 0]), np.arange(len(left))
    assert np.abs(np.polyval(np.polyfit(rows, logs, 1), rows) - logs).max() < 0.03


def test_smoke_goes_down_to_the_contrast_asked_for_and_differs_in_strength() -> None:
    means, lowest = [], []
    for seed in range(40):
        left = contrast(lambda image, generator: smoke(image, 0.05, generator), seed)
        assert left.min() >= 0.04 and left.max() <= 1.01
        means.append(left.mean())
        lowest.append(left.min())
    assert min(lowest) == pytest.approx(0.05, abs=0.01)
    # From next to nothing to nearly blind everywhere.
    assert min(means) < 0.2 and max(means) > 0.8


def test_clouds_are_smooth_fill_the_range_and_are_never_the_same() -> None:
    fields = [cloud_field((256, 320), np.random.default_rng(seed)) for seed in range(3)]
    for field in fields:
        assert field.shape == (256, 320) and field.min() == 0.0 and field.max() == 1.0
        assert np.abs(np.diff(field, axis=1)).max() < 0.1
    assert np.abs(fields[0] - fields[1]).max() > 0.3


@pytest.mark.parametrize("seed", range(8))
def test_darkness_leaves_at_most_the_gain_asked_for_and_noise(seed: int) -> None:
    dark, bright = (darken(image, 0.1, NOISE, np.random.default_rng(seed)).astype(float) for image in two_levels())
    assert (bright - dark).mean() <= 0.1 * 200 + 1
    assert 0 < bright.std() <= 8.5
    np.testing.assert_array_equal(bright[..., 0], bright[..., 1])


@pytest.mark.parametrize("name", ["haze_probability", "smoke_probability", "darkness_probability"])
def test_blinding_changes_rgb_alone_as_often_as_asked(name: str) -> None:
    sample = patch_sample(3, size=SIZE)
    plain = replace(PLAIN, haze_contrast=0.1, smoke_contrast=0.05, darkness_gain=0.1)
    changed = 0
    for seed in range(60):
        change: dict[str, Any] = {name: 0.5}
        seen = Augmentation(replace(plain, **change))([sample], 0, np.random.default_rng(seed))
        np.testing.assert_array_equal(seen.thermal, sample.thermal)
        np.testing.assert_allclose(seen.boxes, sample.boxes)
        changed += not np.array_equal(seen.rgb, sample.rgb)
    # Four standard deviations of a binomial count.
    assert abs(changed - 30) < 4 * np.sqrt(60 * 0.25)
