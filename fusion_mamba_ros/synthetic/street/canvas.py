# SPDX-License-Identifier: Apache-2.0
"""Where one actor is drawn once for both cameras: reflectance, temperature and coverage side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.synthetic.street.camera import FloatArray

# Temperatures are drawn as bytes: 0.3125 degrees a step from -20 to 59.7 degrees Celsius.
COLDEST_CELSIUS = -20.0
CELSIUS_PER_STEP = 0.3125

Colour = tuple[float, float, float]

WHITE_LAMP: Colour = (255.0, 244.0, 220.0)
RED_LAMP: Colour = (255.0, 34.0, 20.0)

_SUBPIXEL_BITS = 4
_CIRCLE = np.stack(
    [
        np.cos(np.linspace(0, 2 * np.pi, 20, False)),
        np.sin(np.linspace(0, 2 * np.pi, 20, False)),
    ],
    1,
)


@dataclass(frozen=True)
class Light:
    """A lamp on an actor as the RGB camera sees it: centre and radius in pixels, colour 0..255, glow in radii."""

    centre_px: tuple[float, float]
    radius_px: float
    colour: Colour
    glow: float = 6.0


@dataclass
class Sprite:
    """One drawn actor. ``left``, ``top`` place it in the image; it may reach beyond the image's edges.

    ``surface`` (h, w, 4) uint8: reflectance R, G, B and the temperature byte; ``coverage`` (h, w) uint8.
    """

    left: int
    top: int
    surface: npt.NDArray[np.uint8]
    coverage: npt.NDArray[np.uint8]
    lights: list[Light] = field(default_factory=list)


class Canvas:
    """A patch of the image that grows around given pixels, to draw polygons on with subpixel edges."""

    def __init__(self, corners_px: FloatArray, base: tuple[Colour, float]) -> None:
        low = np.floor(corners_px.min(axis=0)).astype(int) - 2
        high = np.ceil(corners_px.max(axis=0)).astype(int) + 3
        self.left, self.top = int(low[0]), int(low[1])
        height, width = int(high[1] - low[1]), int(high[0] - low[0])
        # Starting from the actor's own colour, not black, keeps its soft edges from going dark.
        self.surface = np.empty((height, width, 4), np.uint8)
        self.surface[:] = _paint(*base)
        self.coverage = np.zeros((height, width), np.uint8)
        self.lights: list[Light] = []

    def polygon(self, points_px: FloatArray, colour: Colour, celsius: float) -> None:
        """Fill a polygon (n, 2) given in pixels of the image."""
        self._fill([self._corners(points_px)], colour, celsius)

    def ring(self, outer_px: FloatArray, inner_px: FloatArray, colour: Colour, celsius: float) -> None:
        """Fill what lies between two closed lines (n, 2)."""
        self._fill([self._corners(outer_px), self._corners(inner_px)], colour, celsius)

    def _corners(self, points_px: FloatArray) -> npt.NDArray[np.int32]:
        return ((points_px - (self.left, self.top)) * (1 << _SUBPIXEL_BITS) + 0.5).astype(np.int32)

    def _fill(self, corners: list[npt.NDArray[np.int32]], colour: Colour, celsius: float) -> None:
        cv2.fillPoly(self.surface, corners, _paint(colour, celsius), cv2.LINE_AA, _SUBPIXEL_BITS)
        cv2.fillPoly(self.coverage, corners, 255, cv2.LINE_AA, _SUBPIXEL_BITS)

    def ellipse(
        self,
        centre_px: FloatArray,
        radii_px: tuple[float, float],
        colour: Colour,
        celsius: float,
    ) -> None:
        """Fill an upright ellipse."""
        self.polygon(centre_px + _CIRCLE * radii_px, colour, celsius)

    def limb(
        self,
        start_px: FloatArray,
        end_px: FloatArray,
        widths_px: tuple[float, float],
        colour: Colour,
        celsius: float,
    ) -> None:
        """Fill a rounded bar whose width goes from the first of ``widths_px`` to the second."""
        (x0, y0), (x1, y1) = start_px.tolist(), end_px.tolist()
        length = math.hypot(x1 - x0, y1 - y0)
        if length > 1e-3:
            across_x, across_y = (y0 - y1) / length / 2, (x1 - x0) / length / 2
            a, b = widths_px
            bar = np.array([
                (x0 + a * across_x, y0 + a * across_y), (x1 + b * across_x, y1 + b * across_y),
                (x1 - b * across_x, y1 - b * across_y), (x0 - a * across_x, y0 - a * across_y),
            ])  # fmt: skip
            self.polygon(bar, colour, celsius)
        for centre, width in ((start_px, widths_px[0]), (end_px, widths_px[1])):
            if width > 2.5:
                self.ellipse(centre, (width / 2, width / 2), colour, celsius)

    def sprite(self) -> Sprite:
        """Return what was drawn."""
        return Sprite(self.left, self.top, self.surface, self.coverage, self.lights)


def shaded(colour: Colour, factor: float) -> Colour:
    """Return a colour made darker or lighter by ``factor``."""
    r, g, b = colour
    return (r * factor, g * factor, b * factor)


def _paint(colour: Colour, celsius: float) -> tuple[float, float, float, float]:
    r, g, b = colour
    return (
        min(r, 255.0),
        min(g, 255.0),
        min(b, 255.0),
        max((celsius - COLDEST_CELSIUS) / CELSIUS_PER_STEP, 0.0),
    )
