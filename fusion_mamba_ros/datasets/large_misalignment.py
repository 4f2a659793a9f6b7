# SPDX-License-Identifier: Apache-2.0
"""Simulate a large misalignment: parallax shifts near objects by many pixels between the cameras."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def random_shift(most_px: float, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return a translation matrix (3, 3) with a random direction and a uniform length of up to ``most_px`` pixels."""
    return shift(generator.uniform(0.0, most_px), generator.uniform(0.0, 2 * np.pi))


def shift(length: float, angle: float) -> npt.NDArray[np.float64]:
    """Return the translation matrix (3, 3) by ``length`` pixels in the direction ``angle``, radians."""
    matrix = np.eye(3)
    matrix[:2, 2] = length * np.cos(angle), length * np.sin(angle)
    return matrix
