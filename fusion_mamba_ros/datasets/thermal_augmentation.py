# SPDX-License-Identifier: Apache-2.0
"""Augment thermal images: blur, gain, offset, noise and the fixed pattern of a microbolometer."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.datasets.augmentation_config import AugmentationConfig
from fusion_mamba_ros.datasets.noise_bank import NoiseBank

_LEVELS = np.arange(256, dtype=np.float32)


def augment_thermal(
    image: npt.NDArray[np.uint8], config: AugmentationConfig, noise: NoiseBank, generator: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Return the image (H, W) uint8 with random gain and offset, noise, and row and column offsets.

    With the probabilities of ``config``, the image is blurred first, and its polarity is inverted. The row and column
    offsets simulate the fixed pattern of a microbolometer between two flat-field corrections.
    """
    gain = 1 + generator.uniform(-1, 1) * config.thermal_gain
    offset = 255 * generator.uniform(-1, 1) * config.thermal_offset
    inverted = generator.random() < config.polarity_probability
    noise_deviation = 255 * generator.uniform(0, 1) * config.thermal_noise
    pattern_deviation = 255 * generator.uniform(0, 1, 2) * config.fixed_pattern_noise
    if config.thermal_blur_probability and generator.random() < config.thermal_blur_probability:
        # Blur first: the lens blurs the image before the sensor adds noise and pattern.
        deviation_px = generator.uniform(0, 1) * config.thermal_blur_px
        image = cv2.GaussianBlur(image, (0, 0), deviation_px) if deviation_px > 0.05 else image
    mean = cv2.mean(image)[0]
    table = contrast_table(mean, gain, offset)
    if inverted:
        table = 255 - table
    if noise_deviation == 0 and not pattern_deviation.any():
        mapped: npt.NDArray[np.uint8] = cv2.LUT(image, table.astype(np.uint8))
        return mapped
    changed = cv2.LUT(image, table)
    if noise_deviation:
        changed = cv2.scaleAdd(np.ascontiguousarray(noise.draw(image.shape, generator)), noise_deviation, changed)
    rows, columns = (
        deviation * generator.standard_normal(count, np.float32)
        for deviation, count in zip(pattern_deviation, image.shape, strict=True)
    )
    return with_pattern(changed, rows, columns)


def contrast_table(mean: float, gain: float, offset: float = 0.0) -> npt.NDArray[np.float32]:
    """Return what each grey level 0 ... 255 becomes: the contrast about ``mean`` times ``gain``, plus ``offset``."""
    return np.asarray(np.clip((_LEVELS - mean) * gain + mean + offset, 0, 255), np.float32)


def with_pattern(
    image: npt.NDArray[np.float32], rows: npt.NDArray[np.float32], columns: npt.NDArray[np.float32]
) -> npt.NDArray[np.uint8]:
    """Add an offset to each row and each column of ``image`` (H, W), in place, and return it rounded to 8 bits."""
    image += rows[:, None]
    image += columns
    rounded: npt.NDArray[np.uint8] = cv2.convertScaleAbs(cv2.max(image, 0.0))
    return rounded
