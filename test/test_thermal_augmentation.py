# SPDX-License-Identifier: Apache-2.0
"""Augmentation of thermal images: gain, offset, noise, pattern, polarity and blur."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fusion_mamba_ros.datasets.augmentation_config import AugmentationConfig
from fusion_mamba_ros.datasets.noise_bank import NoiseBank
from fusion_mamba_ros.datasets.thermal_augmentation import augment_thermal

PLAIN = AugmentationConfig.none((320, 256))
NOISE = NoiseBank((320, 256))


def ramp() -> np.ndarray:
    return np.tile(np.linspace(60, 180, 320).astype(np.uint8), (256, 1))


def test_zero_strengths_change_nothing() -> None:
    np.testing.assert_array_equal(augment_thermal(ramp(), PLAIN, NOISE, np.random.default_rng(0)), ramp())


@pytest.mark.parametrize("seed", range(10))
def test_gain_and_offset_are_one_straight_line_within_their_bounds(seed: int) -> None:
    config = replace(PLAIN, thermal_gain=0.3, thermal_offset=0.1)
    changed = augment_thermal(ramp(), config, NOISE, np.random.default_rng(seed))
    before = ramp()
    slope, _ = np.polyfit(before.ravel(), changed.ravel().astype(float), 1)
    assert 0.69 <= slope <= 1.31
    assert abs(changed.mean() - before.mean()) <= 0.1 * 255 + 1


def test_noise_has_at_most_the_deviation_asked_for_and_no_pattern() -> None:
    config = replace(PLAIN, thermal_noise=0.04)
    grey = np.full((256, 320), 128, np.uint8)
    deviations = []
    for seed in range(20):
        changed = augment_thermal(grey, config, NOISE, np.random.default_rng(seed)).astype(float)
        deviations.append(changed.std())
        assert changed.mean(axis=0).std() < 1.5 * changed.std() / np.sqrt(256) + 0.1
    assert 0.7 * 255 * 0.04 < max(deviations) <= 1.1 * 255 * 0.04


def test_fixed_pattern_is_constant_along_rows_and_columns() -> None:
    config = replace(PLAIN, fixed_pattern_noise=0.05)
    grey = np.full((256, 320), 128, np.uint8)
    changed = augment_thermal(grey, config, NOISE, np.random.default_rng(3)).astype(float)
    assert changed.std() > 1
    # What rows and columns do not explain is rounding.
    residual = changed - changed.mean(axis=0) - changed.mean(axis=1)[:, None] + changed.mean()
    assert residual.std() < 0.5


def test_polarity_turns_hot_dark() -> None:
    changed = augment_thermal(ramp(), replace(PLAIN, polarity_probability=1.0), NOISE, np.random.default_rng(0))
    np.testing.assert_array_equal(changed, 255 - ramp())


def test_saturated_image_does_not_wrap_around() -> None:
    config = replace(PLAIN, thermal_offset=0.1, thermal_noise=0.05, fixed_pattern_noise=0.05)
    for level in (0, 255):
        for seed in range(10):
            grey = np.full((256, 320), level, np.uint8)
            changed = augment_thermal(grey, config, NOISE, np.random.default_rng(seed)).astype(int)
            assert np.abs(changed - level).max() < 128


def test_blur_spreads_a_point_by_at_most_the_deviation_asked_for_and_keeps_noise_sharp() -> None:
    config = replace(PLAIN, thermal_blur_probability=1.0, thermal_blur_px=2.5)
    point = np.zeros((256, 320), np.uint8)
    point[100:140, 150:190] = 255
    widths = []
    for seed in range(30):
        row = augment_thermal(point, config, NOISE, np.random.default_rng(seed))[120].astype(float)
        # The derivative of a blurred edge is the kernel.
        kernel = np.clip(np.diff(row[130:170]), 0, None)
        place = np.arange(len(kernel))
        mean = (kernel * place).sum() / kernel.sum()
        widths.append(np.sqrt((kernel * (place - mean) ** 2).sum() / kernel.sum()))
    assert max(widths) <= 2.6 and max(widths) > 1.8 and min(widths) < 0.6
    noisy = replace(config, thermal_noise=0.1)
    grey = np.full((256, 320), 128, np.uint8)
    changed = augment_thermal(grey, noisy, NOISE, np.random.default_rng(1)).astype(float)
    # White noise: neighbours are independent.
    left, right = changed[:, :-1].ravel(), changed[:, 1:].ravel()
    assert changed.std() > 3 and abs(np.corrcoef(left, right)[0, 1]) < 0.05
