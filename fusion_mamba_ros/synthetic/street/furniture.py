# SPDX-License-Identifier: Apache-2.0
"""What stands on the pavement: lamp posts and trees."""

from __future__ import annotations

import numpy as np

from fusion_mamba_ros.synthetic.street.camera import StreetCamera
from fusion_mamba_ros.synthetic.street.canvas import Canvas, Colour, Light, Sprite
from fusion_mamba_ros.synthetic.street.climate import Climate

LAMP_HEIGHT = 5.5

_STEEL: Colour = (70.0, 72.0, 75.0)
_BARK: Colour = (62.0, 50.0, 40.0)


def draw_lamp_post(camera: StreetCamera, climate: Climate, x: float, z: float) -> Sprite:
    """Return a lamp post at ground point (x, z) that reaches over the road; by night it burns."""
    scale = camera.pixels_per_metre(z)
    arm = -np.sign(x) * 1.2
    points = np.array([[x, 0, z], [x, LAMP_HEIGHT, z], [x + arm, LAMP_HEIGHT + 0.2, z]])
    foot, head, tip = pixels = camera.project(points)
    width = max(0.12 * scale, 1.2)
    canvas = Canvas(np.stack([pixels.min(0) - 4 - width, pixels.max(0) + 4 + width]), (_STEEL, climate.air))
    canvas.limb(foot, head, (width * 1.3, width), _STEEL, climate.air + 0.5)
    canvas.limb(head, tip, (width, width), _STEEL, climate.air + 0.5)
    burning = 18.0 if climate.night else 0.5
    canvas.ellipse(tip, (0.3 * scale, 0.1 * scale), (90.0, 90.0, 90.0), climate.air + burning)
    if climate.night:
        r, g, b = (float(c) * 255 for c in climate.lamp_colour)
        canvas.lights.append(Light((float(tip[0]), float(tip[1])), 0.16 * scale, (r, g, b), 11.0))
    return canvas.sprite()


def draw_tree(camera: StreetCamera, climate: Climate, x: float, z: float, rng: np.random.Generator) -> Sprite:
    """Return a tree at ground point (x, z)."""
    scale = camera.pixels_per_metre(z)
    foot, fork = camera.project(np.array([[x, 0, z], [x, float(rng.uniform(2.6, 3.4)), z]]))
    crown = fork + rng.normal(0, 1, (26, 2)) * (0.8 * scale, 0.6 * scale) - (0, 0.9 * scale)
    sizes = rng.uniform(0.35, 0.75, len(crown)) * scale
    reach = float(sizes.max()) + 3
    canvas = Canvas(np.vstack([crown - reach, crown + reach, foot, fork]), (_BARK, climate.air))
    canvas.limb(foot, fork, (0.34 * scale, 0.24 * scale), _BARK, climate.air + 1.8)
    for centre, size in zip(crown, sizes.tolist(), strict=True):
        shade = float(rng.uniform(0.5, 1.0))
        celsius = climate.air - 1 + float(rng.normal(0, 0.5))
        canvas.ellipse(centre, (size, size * 0.75), (48 * shade, 75 * shade, 32 * shade), celsius)
    return canvas.sprite()
