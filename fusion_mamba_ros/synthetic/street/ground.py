# SPDX-License-Identifier: Apache-2.0
"""Sky, road and pavements of the empty street."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from fusion_mamba_ros.synthetic.street.camera import StreetCamera
from fusion_mamba_ros.synthetic.street.climate import Climate
from fusion_mamba_ros.synthetic.street.layers import Layers, Map, smooth_noise

KERB_SIDE = 4.2
HOUSE_SIDE = 8.5

_TEXTURE = 512


def paint_sky(layers: Layers, camera: StreetCamera, climate: Climate, rng: np.random.Generator) -> None:
    """Fill all rows with the sky; what stands or lies in front is painted after it."""
    height, width = layers.celsius.shape
    above = (camera.horizon_px - np.arange(height, dtype=np.float32)) / camera.horizon_px
    rise = np.clip(above, 0, 1)[:, None]
    clouds = smooth_noise(rng, height, width, 7)
    grey = (0.55 - 0.35 * rise + 0.06 * clouds)[..., None]
    layers.light[:] = climate.ambient_light.astype(np.float32)
    if climate.night:
        layers.light[:] += np.array([0.010, 0.011, 0.016], np.float32) * np.float32(rng.uniform(0.2, 1.2))
        layers.reflectance[:] = grey * np.array([0.9, 0.8, 0.9], np.float32)
    else:
        layers.reflectance[:] = (grey + 0.35) * np.array([0.9, 1.0, 1.2], np.float32)
    layers.celsius[:] = climate.sky * rise**0.5 + climate.air * 0.3 * (1 - rise) + clouds


def paint_ground(
    layers: Layers,
    camera: StreetCamera,
    climate: Climate,
    lamps: Sequence[tuple[float, float]],
    rng: np.random.Generator,
) -> None:
    """Fill the rows below the horizon: asphalt with its markings, pavements, lawns, in the light of the lamps."""
    side, depth = camera.ground_of_pixels()
    first = int(np.argmax(np.isfinite(depth[:, 0])))
    side, depth = side[first:], depth[first:]
    below = layers.rows(first, layers.celsius.shape[0])
    below.distance[:] = depth
    across = np.abs(side)
    fine = rng.standard_normal((_TEXTURE, _TEXTURE)).astype(np.float32)
    coarse = smooth_noise(rng, _TEXTURE, _TEXTURE, 24)
    fade = np.minimum(9.0 / depth, 1)
    last = _TEXTURE - 1
    grain = cv2.remap(fine, (side * 40) % last, (depth * 40) % last, cv2.INTER_LINEAR) * fade
    patches = cv2.remap(coarse, (side * 16 + 256) % last, (depth * 16) % last, cv2.INTER_LINEAR) * np.sqrt(fade)
    pavement, lawn = across > KERB_SIDE, across > HOUSE_SIDE - 1.2
    lines = _markings(side, depth, crossing=float(rng.uniform(9, 15)))

    base = np.where(lawn, np.float32(0.11), np.where(pavement, np.float32(0.30), np.float32(0.15)))
    base *= 1 + 0.16 * grain + 0.12 * patches
    base[lines] = 0.62
    base[np.abs(across - KERB_SIDE) < 0.07] = 0.42
    grass, stone = np.array([0.75, 1.1, 0.5], np.float32), np.array([1.0, 0.98, 0.95], np.float32)
    below.reflectance[:] = base[..., None] * np.where(lawn[..., None], grass, stone)
    below.light[:] = climate.ambient_light.astype(np.float32)
    for x, z in lamps:
        pool = 14.0 / (8.0 + (side - x) ** 2 + (depth - z) ** 2)
        below.light[:] += (np.float32(climate.lamp_power) * pool**1.1)[..., None] * climate.lamp_colour.astype(
            np.float32
        )

    celsius = np.where(lawn, climate.air - 1.5, np.where(pavement, climate.road - 1.2, climate.road))
    # Under a shallow angle the ground mirrors the cold sky.
    mirrored = np.clip(depth - 10, 0, 50) * 0.05
    below.celsius[:] = celsius + 0.25 * grain + 0.7 * patches - 0.6 * lines - mirrored


def _markings(side: Map, depth: Map, *, crossing: float) -> np.ndarray:
    """Return where paint lies: dashes in the middle, edge lines, and a zebra crossing at ``crossing`` metres."""
    across = np.abs(side)
    dashes = (across < 0.07) & (depth % 6 < 3)
    edges = np.abs(across - KERB_SIDE + 0.25) < 0.06
    zebra = (across < KERB_SIDE - 0.4) & (np.abs(depth - crossing) < 1.3) & (side % 1.0 < 0.5)
    return np.asarray(dashes | edges | zebra)
