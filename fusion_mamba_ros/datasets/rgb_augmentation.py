# SPDX-License-Identifier: Apache-2.0
"""Colour changes of the RGB picture alone."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.datasets.augmentation_config import AugmentationConfig
from fusion_mamba_ros.datasets.noise_bank import NoiseBank

_HUES = 180  # OpenCV stores hue in half degrees
_LEVELS = np.arange(256, dtype=np.float32)


def augment_rgb(
    image: npt.NDArray[np.uint8], config: AugmentationConfig, noise: NoiseBank, generator: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Return the picture (H, W, 3) in other colours and brightness; rarely grey, dark and noisy, or blurred."""
    hue = generator.uniform(-1, 1) * config.hue
    saturation = 1 + generator.uniform(-1, 1) * config.saturation
    brightness = 1 + generator.uniform(-1, 1) * config.brightness
    grey = generator.random() < config.grey_probability
    dark = generator.random() < config.darken_probability
    blurred = generator.random() < config.blur_probability
    if grey:
        saturation = 0.0
    if dark:
        brightness *= generator.uniform(0.1, 0.5)
    if (hue, saturation, brightness) != (0.0, 1.0, 1.0):
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        table = np.empty((1, 256, 3), np.uint8)
        table[0, :, 0] = (_LEVELS + hue * _HUES) % _HUES
        table[0, :, 1] = np.clip(_LEVELS * saturation, 0, 255)
        table[0, :, 2] = np.clip(_LEVELS * brightness, 0, 255)
        image = cv2.cvtColor(cv2.LUT(hsv, table), cv2.COLOR_HSV2RGB)
    if dark:
        # One noise picture for the three channels: dark RGB noise is mostly in brightness once it is demosaiced.
        added = noise.draw(image.shape[:2], generator) * generator.uniform(2.0, 10.0)
        image = cv2.add(image, cv2.merge([added] * 3), dtype=cv2.CV_8U)
    if blurred:
        image = cv2.GaussianBlur(image, (0, 0), generator.uniform(0.5, 2.0))
    return image
