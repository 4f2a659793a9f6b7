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
    # Use one noise image for all three channels: after demosaicing, noise in the dark is mostly brightness noise.
    added = noise.draw(image.shape[:2], generator) * np.float32(deviation)
    dark = cv2.convertScaleAbs(image, alpha=gain)
    return np.asarray(cv2.add(dark, cv2.merge([added] * 3), dtype=cv2.CV_8U), np.uint8)
