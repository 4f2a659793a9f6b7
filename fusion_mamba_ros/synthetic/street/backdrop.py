# SPDX-License-Identifier: Apache-2.0
"""Street without actors, as both cameras see it."""

from __future__ import annotations

import numpy as np

from fusion_mamba_ros.synthetic.street.camera import FloatArray, StreetCamera
from fusion_mamba_ros.synthetic.street.canvas import Sprite
from fusion_mamba_ros.synthetic.street.climate import Climate
from fusion_mamba_ros.synthetic.street.furniture import LAMP_HEIGHT, draw_lamp_post, draw_tree
from fusion_mamba_ros.synthetic.street.ground import KERB_SIDE, paint_ground, paint_sky
from fusion_mamba_ros.synthetic.street.houses import paint_houses
from fusion_mamba_ros.synthetic.street.layers import Layers


class Backdrop:
    """Paint one empty street: ``rgb`` (H, W, 3) uint8, ``celsius`` and ``distance`` (H, W) float32.

    All three show the street without actors; ``distance`` is in metres. `ProceduralScene` paints the occluders into
    them. ``occluders`` are pairs of depth and sprite, farthest first: lamp posts and trees, which
    hide actors behind them. ``lamps`` are the ground points (x, z) of the lamp posts.
    """

    def __init__(self, camera: StreetCamera, climate: Climate, rng: np.random.Generator) -> None:
        self.camera, self.climate = camera, climate
        first, spacing, side = rng.uniform(7, 14), rng.uniform(14, 24), rng.choice([-1.0, 1.0])
        self.lamps = [(float(side * (-1) ** i * (KERB_SIDE + 0.5)), float(first + i * spacing)) for i in range(4)]
        layers = Layers.empty(camera.height_px, camera.width_px)
        paint_sky(layers, camera, climate, rng)
        paint_ground(layers, camera, climate, self.lamps, rng)
        paint_houses(layers, camera, climate, self.light_at, rng)
        self.rgb, self.celsius, self.distance = layers.develop(), layers.celsius, layers.distance
        self.occluders = self._furniture(rng)

    def light_at(self, x: float, z: float) -> FloatArray:
        """Return the light (3,) on an upright object at ground point (x, z)."""
        light = np.array(self.climate.ambient_light, float)
        for lamp_x, lamp_z in self.lamps:
            squared = (x - lamp_x) ** 2 + (z - lamp_z) ** 2 + 0.3 * LAMP_HEIGHT**2
            light += self.climate.lamp_power * self.climate.lamp_colour * (14.0 / (8.0 + squared))
        return light

    def _furniture(self, rng: np.random.Generator) -> list[tuple[float, Sprite]]:
        items = [(z, draw_lamp_post(self.camera, self.climate, x, z)) for x, z in self.lamps]
        for side in (-1.0, 1.0):
            places = np.arange(rng.uniform(8, 14), 50, rng.uniform(9, 16)).tolist()
            x = side * (KERB_SIDE + 1.1)
            items += [(z, draw_tree(self.camera, self.climate, x, z, rng)) for z in places if rng.random() < 0.75]
        return sorted(items, key=lambda item: -item[0])
