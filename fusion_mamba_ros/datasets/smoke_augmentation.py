# SPDX-License-Identifier: Apache-2.0
"""Smoke in the RGB image: clouds that take the contrast nearly whole, while the thermal camera sees through them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.datasets.haze_augmentation import veil

_GREY = (60.0, 230.0)
_OCTAVES = 4
# Cells of the coarsest clouds across the image's shorter side.
_COARSEST_CELLS = 2


def smoke(image: npt.NDArray[np.uint8], least_contrast: float, generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return the image (H, W, 3) behind smoke of random grey.

    The contrast of the thickest places is ``least_contrast``; how much of the image they fill is random, up to all of
    it.
    """
    clouds = cloud_field((image.shape[0], image.shape[1]), generator)
    # From smoke in single places to smoke everywhere.
    fill = generator.uniform(-0.5, 1.0)
    density = np.clip(clouds + fill, 0.0, 1.0)
    return veil(image, 1.0 - (1.0 - least_contrast) * density, generator.uniform(*_GREY))


def cloud_field(shape: tuple[int, int], generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return smooth random values (H, W) from 0 to 1: noise of several cell sizes, each half as strong as the next."""
    height, width = shape
    field = np.zeros(shape, np.float64)
    for octave in range(_OCTAVES):
        cells = _COARSEST_CELLS * 2**octave
        across = max(2, round(cells * width / min(shape))), max(2, round(cells * height / min(shape)))
        grid = generator.random((across[1], across[0]))
        field += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    lowest, highest = field.min(), field.max()
    return (field - lowest) / max(highest - lowest, 1e-9)
