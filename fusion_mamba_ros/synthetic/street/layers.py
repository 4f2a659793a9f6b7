# SPDX-License-Identifier: Apache-2.0
"""Layers per pixel from which the images of the empty street are computed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.synthetic.street.camera import FloatArray

Map = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Layers:
    """Hold ``reflectance``, ``light`` and ``emission`` (H, W, 3), ``celsius`` and ``distance`` (H, W), all float32.

    ``distance`` is along the axis of the camera, in metres, and infinite where there is only sky. The paint functions
    fill the arrays in place.
    """

    reflectance: Map
    light: Map
    emission: Map
    celsius: Map
    distance: Map

    @staticmethod
    def empty(height_px: int, width_px: int) -> Layers:
        """Return layers filled with zeros; ``distance`` is infinite."""
        size = (height_px, width_px)
        reflectance, light, emission = (np.zeros((*size, 3), np.float32) for _ in range(3))
        return Layers(reflectance, light, emission, np.zeros(size, np.float32), np.full(size, np.inf, np.float32))

    def rows(self, first: int, end: int) -> Layers:
        """Return views of the rows from ``first`` up to, but not including, ``end``."""
        return Layers(
            self.reflectance[first:end],
            self.light[first:end],
            self.emission[first:end],
            self.celsius[first:end],
            self.distance[first:end],
        )

    def develop(self) -> npt.NDArray[np.uint8]:
        """Return the RGB image (H, W, 3)."""
        return develop(self.reflectance * self.light + self.emission)


def develop(light: FloatArray) -> npt.NDArray[np.uint8]:
    """Return the RGB bytes for linear light: saturation with a soft shoulder, then gamma 2.2."""
    exposed = 1.0 - np.exp(-1.6 * np.maximum(light, 0))
    return np.asarray(255.0 * exposed ** (1 / 2.2), np.uint8)


def smooth_noise(rng: np.random.Generator, height: int, width: int, cells: int) -> Map:
    """Return noise (height, width) with mean 0 and standard deviation about 1; blobs measure 1/cells of the width."""
    rows = max(cells * height // width, 2)
    coarse = rng.standard_normal((rows, cells)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
