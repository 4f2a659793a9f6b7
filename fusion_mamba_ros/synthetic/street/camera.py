# SPDX-License-Identifier: Apache-2.0
"""Pinhole camera that looks along a street."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True)
class StreetCamera:
    """Level pinhole camera.

    World axes in metres: X right, Y up from the ground, Z forward. The camera is at (``side``, ``height``, 0).
    """

    width_px: int = 640
    height_px: int = 480
    focal_px: float = 560.0
    height: float = 1.7
    side: float = 0.0
    horizon_px: float = 205.0

    def project(self, points: FloatArray) -> FloatArray:
        """Return the pixels (..., 2) of points (..., 3). The points must lie in front of the camera (Z > 0)."""
        towards_image = (points[..., :2] - (self.side, self.height)) * (
            (self.focal_px, -self.focal_px) / points[..., 2:]
        )
        return towards_image + (self.width_px / 2, self.horizon_px)

    def pixels_per_metre(self, depth: float) -> float:
        """Return the number of pixels that one metre covers at ``depth`` metres."""
        return self.focal_px / depth

    def ground_of_pixels(self) -> tuple[FloatArray, FloatArray]:
        """Return X and Z (height_px, width_px) of the ground point of each pixel; above the horizon Z is inf."""
        rows = np.arange(self.height_px, dtype=np.float32)[:, None] + 0.5
        columns = np.arange(self.width_px, dtype=np.float32)[None, :] + 0.5
        below = rows - self.horizon_px
        with np.errstate(divide="ignore"):
            depth = np.where(below > 0.25, self.focal_px * self.height / below, np.inf).astype(np.float32)
        depth = np.repeat(depth, self.width_px, axis=1)
        with np.errstate(invalid="ignore"):
            side = self.side + (columns - self.width_px / 2) / self.focal_px * depth
        return np.nan_to_num(side, posinf=1e3, neginf=-1e3).astype(np.float32), depth


def in_world(points: FloatArray, x: float, z: float, heading: float) -> FloatArray:
    """Return points (n, 3) of an object at ground point (x, z) in world axes X, Y, Z.

    ``points`` are (forward, left, up) in metres in the axes of the object. ``heading`` is in radians: 0 = to the right,
    pi/2 = away from the camera.
    """
    cos, sin = np.cos(heading), np.sin(heading)
    placed: FloatArray = points @ np.array([[cos, 0, sin], [-sin, 0, cos], [0, 1, 0]]) + (x, 0, z)
    return placed
