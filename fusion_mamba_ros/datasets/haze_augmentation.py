# SPDX-License-Identifier: Apache-2.0
"""Simulate haze in the RGB image: contrast decreases with distance, estimated from the image row."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

# Grey level range of the light that haze scatters into the camera: low at night, high by day.
_AIRLIGHT = (120.0, 230.0)


def haze(image: npt.NDArray[np.uint8], least_contrast: float, generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return the image (H, W, 3) with haze. The contrast of its top row is from ``least_contrast`` to 1."""
    return haze_of(image, generator.uniform(least_contrast, 1.0), generator)


def haze_of(image: npt.NDArray[np.uint8], transmission: float, generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return the image (H, W, 3) with haze of random grey level, with the contrast ``transmission`` in its top row.

    Koschmieder's law: J t + A (1 - t) with the transmission t = exp(-b d). The distance d decreases linearly from 1 in
    the top row to a random value of at most 0.5 in the bottom row.
    """
    nearest = generator.uniform(0.0, 0.5)
    airlight = generator.uniform(*_AIRLIGHT)
    distance = np.linspace(1.0, nearest, image.shape[0])
    return veil(image, np.power(max(transmission, 1e-6), distance)[:, None], airlight)


def veil(image: npt.NDArray[np.uint8], transmission: npt.NDArray[np.float64], airlight: float) -> npt.NDArray[np.uint8]:
    """Return J t + A (1 - t) for an image J (H, W, 3), a transmission t (H, W) or (H, 1), and a grey level A."""
    t = np.broadcast_to(transmission, image.shape[:2]).astype(np.float32)[..., None]
    mixed = cv2.convertScaleAbs(image * t + np.float32(airlight) * (1 - t))
    return np.asarray(mixed, np.uint8)
