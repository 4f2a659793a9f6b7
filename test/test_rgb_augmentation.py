# SPDX-License-Identifier: Apache-2.0
"""Augmentation of RGB images: brightness, grey, dark and blur."""

from __future__ import annotations

import colorsys
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from fusion_mamba_ros.datasets.augmentation_config import AugmentationConfig
from fusion_mamba_ros.datasets.noise_bank import NoiseBank
from fusion_mamba_ros.datasets.rgb_augmentation import augment_rgb

PLAIN = AugmentationConfig.none((64, 64))
NOISE = NoiseBank((64, 64))


def image(color: tuple[int, int, int] = (200, 100, 50)) -> npt.NDArray[np.uint8]:
    return np.full((64, 64, 3), color, np.uint8)


def test_zero_strengths_change_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert augment_rgb(image, PLAIN, NOISE, np.random.default_rng(0)) is image


@pytest.mark.parametrize("seed", range(10))
def test_brightness_keeps_hue_and_saturation(seed: int) -> None:
    changed = augment_rgb(image(), replace(PLAIN, brightness=0.4), NOISE, np.random.default_rng(seed))[0, 0]
    before, after = (colorsys.rgb_to_hsv(*(channel / 255 for channel in color)) for color in ((200, 100, 50), changed))
    assert abs(after[0] - before[0]) < 0.01 and abs(after[1] - before[1]) < 0.03
    assert 0.59 <= after[2] / before[2] <= 1.41


def test_grey_takes_all_colour_away() -> None:
    changed = augment_rgb(image(), replace(PLAIN, grey_probability=1.0), NOISE, np.random.default_rng(0))
    assert np.ptp(changed[0, 0].astype(int)) == 0


def test_dark_image_has_less_than_half_the_light_and_noise() -> None:
    changed = augment_rgb(image(), replace(PLAIN, darken_probability=1.0), NOISE, np.random.default_rng(1))
    assert changed[..., 0].mean() <= 105 and 1 < changed[..., 0].std() < 15


def test_blur_takes_fine_detail_away() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    changed = augment_rgb(image, replace(PLAIN, blur_probability=1.0), NOISE, np.random.default_rng(0))
    assert changed.std() < 0.8 * image.std() and abs(changed.mean() - image.mean()) < 3
