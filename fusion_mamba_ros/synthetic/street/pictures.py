# SPDX-License-Identifier: Apache-2.0
"""The images of one moment as they are painted, far to near: light, temperature, distance, and who covers what."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.synthetic.street.canvas import CELSIUS_PER_STEP, COLDEST_CELSIUS, Light, Sprite

NOBODY = -1
Window = tuple[int, int, int, int]


class Pictures:
    """``rgb`` (H, W, 3) uint8, ``celsius`` and ``distance`` (H, W) float32, painted in place.

    ``owner`` (H, W) int16: index of the actor on top, or -1.
    """

    def __init__(
        self, rgb: npt.NDArray[np.uint8], celsius: npt.NDArray[np.float32], distance: npt.NDArray[np.float32]
    ) -> None:
        self.rgb, self.celsius, self.distance = rgb, celsius, distance
        self.owner = np.full(celsius.shape, NOBODY, np.int16)
        self._painted: list[Window] = []

    def paint(
        self,
        sprite: Sprite,
        recorded: npt.NDArray[np.uint8],
        depth: float,
        *,
        actor: int = NOBODY,
        pattern: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Put a sprite that stands ``depth`` metres away on top.

        ``recorded`` (256, 3) uint8 says what the RGB camera makes of each reflectance byte in the light there;
        ``pattern`` (any size, about -1..1) makes colour and warmth uneven.
        """
        window = self._window(sprite)
        if window is not None:
            self._blend(sprite, window, recorded, depth, actor, pattern)
            if actor != NOBODY:
                self._painted.append(window)
        for light in sprite.lights:
            shine(self.rgb, light)

    def cover(self, occluder: Sprite, recorded: npt.NDArray[np.uint8], depth: float) -> None:
        """Put an occluder that the pictures already show on top again, only where an actor was painted behind it."""
        window = self._window(occluder)
        if window is None:
            return
        for painted in self._painted:
            x0, y0 = max(window[0], painted[0]), max(window[1], painted[1])
            x1, y1 = min(window[2], painted[2]), min(window[3], painted[3])
            if x0 < x1 and y0 < y1:
                self._blend(occluder, (x0, y0, x1, y1), recorded, depth, NOBODY, None)

    def _window(self, sprite: Sprite) -> Window | None:
        """Return the pixels x0 y0 x1 y1 of the image that the sprite reaches."""
        height, width = sprite.coverage.shape
        x0, y0 = max(sprite.left, 0), max(sprite.top, 0)
        x1, y1 = (
            min(sprite.left + width, self.rgb.shape[1]),
            min(sprite.top + height, self.rgb.shape[0]),
        )
        return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None

    def _blend(
        self,
        sprite: Sprite,
        window: Window,
        recorded: npt.NDArray[np.uint8],
        depth: float,
        actor: int,
        pattern: npt.NDArray[np.float32] | None,
    ) -> None:
        x0, y0, x1, y1 = window
        inner = np.s_[y0 - sprite.top : y1 - sprite.top, x0 - sprite.left : x1 - sprite.left]
        outer = np.s_[y0:y1, x0:x1]
        coverage = sprite.coverage[inner].astype(np.float32) * np.float32(1 / 255)
        surface = sprite.surface[inner]
        colour = cv2.LUT(np.ascontiguousarray(surface[..., :3]), recorded[None]).astype(np.float32)
        warmth = surface[..., 3].astype(np.float32) * CELSIUS_PER_STEP + COLDEST_CELSIUS
        if pattern is not None:
            size = sprite.coverage.shape[::-1]
            stretched = cv2.resize(pattern, size, interpolation=cv2.INTER_LINEAR)[inner]
            colour *= (1 + 0.12 * stretched)[..., None]
            warmth += 0.9 * stretched
        under = self.rgb[outer].astype(np.float32)
        self.rgb[outer] = np.clip(under + (colour - under) * coverage[..., None], 0, 255).astype(np.uint8)
        self.celsius[outer] += (warmth - self.celsius[outer]) * coverage
        solid = coverage > 0.5
        self.owner[outer][solid] = actor
        self.distance[outer][solid] = depth


def shine(rgb: npt.NDArray[np.uint8], light: Light) -> None:
    """Add a lamp with its glow to a picture (H, W, 3)."""
    reach = light.radius_px * light.glow + 2
    u, v = light.centre_px
    x0, y0 = max(int(u - reach), 0), max(int(v - reach), 0)
    x1, y1 = (
        min(int(u + reach) + 1, rgb.shape[1]),
        min(int(v + reach) + 1, rgb.shape[0]),
    )
    if x0 >= x1 or y0 >= y1:
        return
    across = (np.arange(x0, x1, dtype=np.float32) - u) ** 2
    down = (np.arange(y0, y1, dtype=np.float32) - v) ** 2
    squared = (across[None] + down[:, None]) / np.float32(light.radius_px**2)
    strength = (1.6 / (1 + squared**2) + 0.5 * np.exp(-squared / (0.18 * light.glow**2))).astype(np.float32)
    lit = rgb[y0:y1, x0:x1].astype(np.float32) + strength[..., None] * np.array(light.colour, np.float32)
    rgb[y0:y1, x0:x1] = np.minimum(lit, 255).astype(np.uint8)
