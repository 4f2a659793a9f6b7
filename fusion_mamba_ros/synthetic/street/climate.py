# SPDX-License-Identifier: Apache-2.0
"""The light and the temperatures of one night or one day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fusion_mamba_ros.synthetic.street.camera import FloatArray


@dataclass(frozen=True)
class Climate:
    """Temperatures in degrees Celsius, light as factors of reflectance; ``sun`` heats what lies in it."""

    night: bool
    air: float
    road: float
    sky: float
    sun: float
    ambient_light: FloatArray
    lamp_colour: FloatArray
    lamp_power: float

    @staticmethod
    def random(rng: np.random.Generator, *, night: bool) -> Climate:
        """Return the weather of one night or one day."""
        air = float(rng.uniform(3, 17) if night else rng.uniform(12, 27))
        sun = 0.0 if night else float(rng.uniform(0, 14))
        lamp = np.array([1.0, 0.78, 0.48]) if rng.random() < 0.6 else np.array([0.92, 1.0, 0.98])
        moonlight = np.array([0.55, 0.7, 1.0])
        ambient = moonlight * rng.uniform(0.002, 0.012) if night else np.ones(3) * rng.uniform(0.55, 0.95)
        return Climate(
            night=night,
            air=air,
            road=air + (float(rng.uniform(0, 3)) if night else sun),
            sky=float(rng.uniform(-20, -8)),
            sun=sun,
            ambient_light=ambient,
            lamp_colour=lamp,
            lamp_power=float(0.05 * 7 ** rng.random()) if night else 0.0,
        )
