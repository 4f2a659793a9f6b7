# SPDX-License-Identifier: Apache-2.0
"""Draw Gaussian noise as crops of one precomputed noise image, which is about 100 times faster than new numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_MARGIN_PX = 256


class NoiseBank:
    """Standard normal noise images of up to ``size`` (width, height). The bank is the same in every process."""

    def __init__(self, size: tuple[int, int]) -> None:
        shape = (size[1] + _MARGIN_PX, size[0] + _MARGIN_PX)
        self._noise = np.random.default_rng(0).standard_normal(shape, np.float32)

    def draw(self, shape: tuple[int, ...], generator: np.random.Generator) -> npt.NDArray[np.float32]:
        """Return a noise image of ``shape`` (height, width): a random crop of the bank, randomly flipped vertically.

        The noise image is a view of the bank: do not modify it in place.
        """
        height, width = shape
        top = int(generator.integers(0, self._noise.shape[0] - height + 1))
        left = int(generator.integers(0, self._noise.shape[1] - width + 1))
        return self._noise[top : top + height, left : left + width][:: generator.choice((-1, 1))]
