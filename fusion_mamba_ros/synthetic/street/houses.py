# SPDX-License-Identifier: Apache-2.0
"""Rows of houses along the street, with windows."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from fusion_mamba_ros.synthetic.street.camera import FloatArray, StreetCamera
from fusion_mamba_ros.synthetic.street.climate import Climate
from fusion_mamba_ros.synthetic.street.ground import HOUSE_SIDE
from fusion_mamba_ros.synthetic.street.layers import Layers, smooth_noise

LightAt = Callable[[float, float], FloatArray]


def paint_houses(
    layers: Layers, camera: StreetCamera, climate: Climate, light_at: LightAt, rng: np.random.Generator
) -> None:
    """Paint the house at the end of the street, then both rows of houses, far to near."""
    end = rng.uniform(55, 75)
    facade = np.array([[-HOUSE_SIDE * 3, 0, end], [HOUSE_SIDE * 3, 0, end]])
    _paint_wall(layers, camera, climate, light_at, facade, float(rng.uniform(8, 16)), rng)
    for sign in (-1.0, 1.0):
        z, blocks = 3.2, []
        while z < end:
            length = float(rng.uniform(7, 14))
            blocks.append((z, min(z + length, end), float(rng.uniform(5, 14))))
            z += length + (float(rng.uniform(2, 5)) if rng.random() < 0.5 else 0)
        for start, stop, height in reversed(blocks):
            foot = np.array([[sign * HOUSE_SIDE, 0, start], [sign * HOUSE_SIDE, 0, stop]])
            _paint_wall(layers, camera, climate, light_at, foot, height, rng)


def _distances(camera: StreetCamera, foot: FloatArray) -> FloatArray:
    """Return how far along the camera's axis each column (W,) of pixels meets the plane of a wall on ``foot``."""
    across = (np.arange(camera.width_px) + 0.5 - camera.width_px / 2) / camera.focal_px
    (x, _, z), (along_x, _, along_z) = foot[0], foot[1] - foot[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((along_z * (x - camera.side) - along_x * z) / (along_z * across - along_x))


def _paint_wall(
    layers: Layers,
    camera: StreetCamera,
    climate: Climate,
    light_at: LightAt,
    foot: FloatArray,
    height: float,
    rng: np.random.Generator,
) -> None:
    """Paint one wall that stands on the line ``foot`` (2, 3)."""
    tone = rng.uniform(0.12, 0.4) * rng.uniform(0.85, 1.12, 3)
    celsius = climate.air + rng.uniform(0.5, 3.5) + 0.5 * climate.sun * rng.random()
    along = foot[1] - foot[0]
    length = float(np.linalg.norm(along))

    def patches(spots: FloatArray) -> np.ndarray:
        """Return the pixels (n, 4, 2) of rectangles (n, 4): from and to along the wall, bottom, top, in metres."""
        s = spots[:, [0, 1, 1, 0], None] / length
        up = spots[:, [2, 2, 3, 3], None] * np.array([0, 1, 0])
        return np.ascontiguousarray(np.rint(camera.project(foot[0] + along * s + up)), np.int32)

    outline = patches(np.array([[0, length, 0, height]]))[0]
    x, y, w, h = cv2.boundingRect(outline)
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + w, camera.width_px), min(y + h, camera.height_px)
    # Drawn even for a wall out of sight, so that what follows does not depend on the camera.
    weave = smooth_noise(rng, camera.height_px, camera.width_px, 90)
    if x0 < x1 and y0 < y1:
        inside = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.fillPoly(inside, [outline - (x0, y0)], 255)
        mask, part = inside > 0, np.s_[y0:y1, x0:x1]
        middle = foot.mean(axis=0)
        light = 0.5 * light_at(float(middle[0]), float(middle[2]))
        # Lamps hang low: upper floors lie in the dark.
        fall = np.linspace(0.35, 1.0, y1 - y0, dtype=np.float32)[:, None, None]
        layers.reflectance[part][mask] = (tone * (1 + 0.10 * weave[part][mask][:, None])).astype(np.float32)
        layers.light[part][mask] = np.broadcast_to(fall * light, (*mask.shape, 3))[mask]
        layers.celsius[part][mask] = celsius + 0.5 * weave[part][mask]
        layers.distance[part][mask] = np.broadcast_to(_distances(camera, foot)[x0:x1], mask.shape)[mask]
    spots = [
        (s, s + 1.1, storey, storey + 1.4)
        for storey in np.arange(1.0, height - 1.6, 2.9)
        for s in np.arange(0.9, length - 1.5, 2.4)
    ]
    for window in patches(np.array(spots)) if spots else []:
        lit = climate.night and rng.random() < 0.16
        cv2.fillPoly(layers.reflectance, [window], (0.05, 0.055, 0.06))
        # Glass mirrors the cold sky; behind a lit one somebody heats.
        cv2.fillPoly(layers.celsius, [window], float(celsius - 2.0 + rng.normal(0, 0.7) + (3.0 if lit else 0.0)))
        if lit:
            warm = np.array([1.0, 0.8, 0.5]) * rng.uniform(0.15, 0.7)
            cv2.fillPoly(layers.emission, [window], tuple(float(c) for c in warm))
        else:
            cv2.fillPoly(layers.emission, [window], (0.0, 0.0, 0.0))
