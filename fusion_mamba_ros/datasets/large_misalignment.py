# SPDX-License-Identifier: Apache-2.0
"""A thermal image that is far off: cameras with parallax show near objects many pixels apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def random_shift(most_px: float, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return a shift (3, 3) in a random direction by up to ``most_px`` pixels, all lengths equally likely."""
    length, angle = generator.uniform(0.0, most_px), generator.uniform(0.0, 2 * np.pi)
    matrix = np.eye(3)
    matrix[:2, 2] = length * np.cos(angle), length * np.sin(angle)
    return matrix
