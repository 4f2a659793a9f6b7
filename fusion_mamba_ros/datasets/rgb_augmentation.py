# SPDX-License-Identifier: Apache-2.0
"""Augment the colours of RGB images."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.datasets.augmentation_config import AugmentationConfig
from fusion_mamba_ros.datasets.noise_bank import NoiseBank

_HUES = 180  # OpenCV stores the hue in units of 2 degrees
_LEVELS = np.arange(256, dtype=np.float32)


def augment_rgb(
    image: npt.NDArray[np.uint8], config: AugmentationConfig, noise: NoiseBank, generator: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Return the image (H, W, 3) with random hue, saturation and brightness.

    With the probabilities of ``config``, it also becomes grey, dark and noisy, or blurred.
    """
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
        # Use one noise image for all three channels: after demosaicing, noise in the dark is mostly brightness noise.
        added = noise.draw(image.shape[:2], generator) * generator.uniform(2.0, 10.0)
        image = cv2.add(image, cv2.merge([added] * 3), dtype=cv2.CV_8U)
    if blurred:
        image = cv2.GaussianBlur(image, (0, 0), generator.uniform(0.5, 2.0))
    return image
