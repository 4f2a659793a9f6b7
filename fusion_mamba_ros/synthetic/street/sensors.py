# SPDX-License-Identifier: Apache-2.0
"""Models of the two sensors: noise, fixed pattern, blur and the temperature range of the thermal image."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.synthetic.street.backdrop import Backdrop
from fusion_mamba_ros.synthetic.street.layers import smooth_noise

_NOISE_SIZE = 1024


class RgbSensor:
    """Add the noise of a colour camera, which is stronger at night."""

    def __init__(self, rng: np.random.Generator, *, night: bool) -> None:
        self._sigma = float(rng.uniform(2.0, 5.0) if night else rng.uniform(1.0, 2.0))

    def record(self, rgb: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        """Return the RGB image (H, W, 3) with noise."""
        noise = _noise(rng, rgb.shape[0], rgb.shape[1] * 3).reshape(rgb.shape)
        noisy = cv2.addWeighted(rgb.astype(np.float32), 1.0, np.ascontiguousarray(noise), self._sigma, 0.0)
        recorded: npt.NDArray[np.uint8] = np.clip(noisy, 0, 255).astype(np.uint8)
        return recorded


class ThermalSensor:
    """Model an uncooled thermal camera whose view is shifted by a few pixels against the RGB camera.

    ``size`` is (width, height) in pixels. With ``radiometric`` an image is uint16 in hundredths of a kelvin. Otherwise
    it is uint8 over a fixed temperature range, which is chosen for the street.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        street: Backdrop,
        *,
        size: tuple[int, int],
        radiometric: bool,
    ) -> None:
        self.size, self.radiometric = size, radiometric
        self.shift = rng.normal(0, 0.0025, 2)
        self._noise_kelvin = float(rng.uniform(0.06, 0.22))
        self._fixed_pattern = _fixed_pattern(rng, *size)
        self._black, self._white = _range(rng, street)

    def record(
        self, celsius: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
        """Return the thermal image of the temperatures (H, W) in degrees Celsius."""
        width, height = self.size
        dx, dy = self.shift * self.size
        matrix = np.array([[width / celsius.shape[1], 0, dx], [0, height / celsius.shape[0], dy]])
        seen = cv2.warpAffine(
            celsius,
            matrix,
            self.size,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        blurred = cv2.GaussianBlur(seen, (0, 0), 0.75 * width / 640 + 0.25)
        noise = _noise(rng, height, width)
        kelvin: npt.NDArray[np.float32] = (
            blurred + self._fixed_pattern + noise * np.float32(self._noise_kelvin) + np.float32(273.15)
        )
        if self.radiometric:
            return (kelvin * 100).astype(np.uint16)
        gain = 255.0 / (self._white - self._black)
        levels: npt.NDArray[np.float32] = (kelvin - np.float32(self._black + 273.15)) * np.float32(gain)
        return np.clip(levels, 0, 255).astype(np.uint8)


def _fixed_pattern(rng: np.random.Generator, width: int, height: int) -> npt.NDArray[np.float32]:
    """Return the fixed-pattern noise of the sensor in kelvin: stripes, spots, and corners warmed by the housing."""
    y, x = np.linspace(-1, 1, height)[:, None] ** 2, np.linspace(-1, 1, width) ** 2
    corners = 0.5 * rng.uniform(-0.3, 1.0) * (x + y)
    stripes = rng.normal(0, 0.10, (1, width)) + rng.normal(0, 0.05, (height, 1))
    spots = 0.05 * rng.standard_normal((height, width), np.float32)
    pattern: npt.NDArray[np.float32] = (corners + stripes + spots + 0.2 * smooth_noise(rng, height, width, 5)).astype(
        np.float32
    )
    return pattern


def _range(rng: np.random.Generator, street: Backdrop) -> tuple[float, float]:
    """Return the temperatures of black and of white in the uint8 image, in degrees Celsius."""
    usual = float(np.median(street.celsius[::4, ::4]))
    white = max(float(rng.uniform(29, 38)), street.climate.road + 8.0)
    grey = float(rng.uniform(0.06, 0.5))
    black = usual - grey / (1 - grey) * (white - usual)
    return min(black, street.climate.air - 4.0), white


@lru_cache(maxsize=1)
def _noise_bank() -> npt.NDArray[np.float32]:
    """Return normal noise from which every frame takes a piece: new noise would cost more time than the scene."""
    return np.random.default_rng(20240422).standard_normal((_NOISE_SIZE, _NOISE_SIZE * 3)).astype(np.float32)


def _noise(rng: np.random.Generator, height: int, width: int) -> npt.NDArray[np.float32]:
    bank = _noise_bank()
    if height > bank.shape[0] or width > bank.shape[1]:
        return rng.standard_normal((height, width), np.float32)
    top, left = rng.integers(0, [bank.shape[0] - height + 1, bank.shape[1] - width + 1])
    return bank[top : top + height, left : left + width]
