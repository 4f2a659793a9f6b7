# SPDX-License-Identifier: Apache-2.0
"""The wheels of a car: warm from driving and braking, the rim more than the tyre."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fusion_mamba_ros.synthetic.street.camera import FloatArray
from fusion_mamba_ros.synthetic.street.canvas import Canvas

_ANGLES = np.linspace(0, 2 * np.pi, 18, False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1)

# From (forward, left, up) in metres, the car's own axes, to pixels.
ToPixels = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class CarWheels:
    """Four wheels of a car of ``length`` and ``width`` metres; ``warmth`` as for the car."""

    length: float
    width: float
    body_celsius: float
    warmth: float

    def draw_far(self, canvas: Canvas, to_pixels: ToPixels, side: str) -> None:
        """Draw what shows of the wheels of the far ``side`` (left or right) below the car."""
        leftward = (self.width / 2 - 0.1) * (1 if side == "left" else -1)
        for forward in self._axles():
            tyre = to_pixels(_ring(forward, leftward, 0.32))
            canvas.polygon(tyre, (10.0, 10.0, 10.0), self.body_celsius + 8 * self.warmth)

    def draw_near(self, canvas: Canvas, to_pixels: ToPixels, side: str) -> None:
        """Draw the wheels of the ``side`` (left or right) that faces the camera: arch, tyre and rim."""
        leftward = (self.width / 2 + 0.01) * (1 if side == "left" else -1)
        for forward in self._axles():
            for radius, colour, heat in (
                (0.38, (8.0, 8.0, 8.0), 4),
                (0.32, (16.0, 16.0, 16.0), 11),
                (0.2, (120.0, 120.0, 125.0), 17),
            ):
                ring = to_pixels(_ring(forward, leftward, radius))
                canvas.polygon(ring, colour, self.body_celsius + heat * self.warmth)

    def _axles(self) -> tuple[float, float]:
        return self.length / 2 - 0.8, -self.length / 2 + 0.78


def _ring(forward: float, leftward: float, radius: float) -> FloatArray:
    return np.stack(
        [forward + radius * _CIRCLE[:, 0], np.full(len(_CIRCLE), leftward), 0.32 + radius * _CIRCLE[:, 1]], axis=1
    )
