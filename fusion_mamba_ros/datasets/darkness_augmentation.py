# SPDX-License-Identifier: Apache-2.0
"""Simulate an RGB image in near darkness: little signal and strong sensor noise."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.datasets.noise_bank import NoiseBank

_NOISE_LEVELS = (1.0, 8.0)


def darken(
    image: npt.NDArray[np.uint8], strongest_gain: float, noise: NoiseBank, generator: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Return the image (H, W, 3) times a random gain from 0 to ``strongest_gain``, plus noise.

    The standard deviation of the noise is 1 to 8 grey levels.
    """
    gain = generator.uniform(0.0, strongest_gain)
    deviation = generator.uniform(*_NOISE_LEVELS)
    return with_light(image, gain, noise.draw(image.shape[:2], generator) * np.float32(deviation))


def with_light(image: npt.NDArray[np.uint8], gain: float, noise: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return the image (H, W, 3) times ``gain``, plus ``noise`` (H, W) in grey levels."""
    # Use one noise image for all three channels: after demosaicing, noise in the dark is mostly brightness noise.
    dark = cv2.convertScaleAbs(image, alpha=gain)
    return np.asarray(cv2.add(dark, cv2.merge([noise] * 3), dtype=cv2.CV_8U), np.uint8)
