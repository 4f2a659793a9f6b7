# SPDX-License-Identifier: Apache-2.0
"""Simulate smoke in the RGB image: clouds that remove nearly all contrast. Thermal cameras see through smoke."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.datasets.haze_augmentation import veil

# Grey level range of smoke.
GREY = (60.0, 230.0)
_OCTAVES = 4
# Number of cells of the coarsest clouds along the shorter edge of the image.
_COARSEST_CELLS = 2


def smoke(image: npt.NDArray[np.uint8], least_contrast: float, generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return the image (H, W, 3) with smoke of a random grey level.

    The contrast in the smoke is at least ``least_contrast``. The density and the area of the smoke are random. The area
    can be the whole image.
    """
    clouds = cloud_field((image.shape[0], image.shape[1]), generator)
    return smoke_of(image, clouds, generator.uniform(-0.5, 1.0), least_contrast, generator.uniform(*GREY))


def smoke_of(
    image: npt.NDArray[np.uint8], clouds: npt.NDArray[np.float64], fill: float, least_contrast: float, grey: float
) -> npt.NDArray[np.uint8]:
    """Return the image (H, W, 3) with smoke of the grey level ``grey`` and the density ``clouds`` + ``fill``.

    ``clouds`` (H, W) is a field of `cloud_field`. The density is clipped to 0 ... 1: -1 gives no smoke, -0.5 smoke in a
    few places, 1 smoke everywhere. The contrast at density 1 is ``least_contrast``.
    """
    density = np.clip(clouds + fill, 0.0, 1.0)
    return veil(image, 1.0 - (1.0 - least_contrast) * density, grey)


def cloud_field(shape: tuple[int, int], generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return smooth random values (H, W) from 0 to 1.

    The field is a sum of noise with several cell sizes. Each finer noise has half the amplitude of the coarser one.
    """
    height, width = shape
    field = np.zeros(shape, np.float64)
    for octave in range(_OCTAVES):
        cells = _COARSEST_CELLS * 2**octave
        across = max(2, round(cells * width / min(shape))), max(2, round(cells * height / min(shape)))
        grid = generator.random((across[1], across[0]))
        field += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    lowest, highest = field.min(), field.max()
    density: npt.NDArray[np.float64] = (field - lowest) / max(highest - lowest, 1e-9)
    return density
