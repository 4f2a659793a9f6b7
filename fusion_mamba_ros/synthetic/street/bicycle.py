# SPDX-License-Identifier: Apache-2.0
"""A bicycle, drawn from its three-dimensional shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fusion_mamba_ros.synthetic.street.camera import FloatArray, StreetCamera, in_world
from fusion_mamba_ros.synthetic.street.canvas import RED_LAMP, WHITE_LAMP, Canvas, Colour, Light, Sprite

_WHEEL = np.stack([np.cos(np.linspace(0, 2 * np.pi, 18, False)), np.sin(np.linspace(0, 2 * np.pi, 18, False))], 1)


@dataclass(frozen=True)
class Bicycle:
    """How one bicycle looks: thin, at the temperature of the air, its tyres a little warmer when ridden."""

    paint: Colour
    ambient_celsius: float
    ridden: bool
    lamp: bool

    @staticmethod
    def random(rng: np.random.Generator, ambient_celsius: float, *, ridden: bool, lamp: bool) -> Bicycle:
        """Return a bicycle drawn from ``rng``."""
        paint = rng.uniform(30, 235, 3)
        return Bicycle(
            (float(paint[0]), float(paint[1]), float(paint[2])),
            ambient_celsius,
            ridden,
            lamp,
        )

    def draw(self, camera: StreetCamera, x: float, z: float, heading: float) -> Sprite:
        """Return the bicycle whose middle stands at (x, z); ``heading`` as for a car."""

        def at(s: float, up: float, left: float = 0.0) -> FloatArray:
            return camera.project(in_world(np.array([s, left, up]), x, z, heading))

        def ring(s: float, radius: float) -> FloatArray:
            circle = np.stack(
                [
                    s + radius * _WHEEL[:, 0],
                    np.zeros(len(_WHEEL)),
                    0.34 + radius * _WHEEL[:, 1],
                ],
                axis=1,
            )
            return camera.project(in_world(circle, x, z, heading))

        scale = camera.pixels_per_metre(z)
        warm = self.ambient_celsius + (4.0 if self.ridden else 0.4)
        tyre_px = max(0.05 * scale, 1.0)
        rings = [(ring(s, 0.34 + tyre_px / 2 / scale), ring(s, 0.34 - tyre_px / 2 / scale)) for s in (0.53, -0.53)]
        bar = [at(0.4, 1.02, 0.28), at(0.4, 1.02, -0.28)]
        corners = np.concatenate([*(outer for outer, _ in rings), np.stack(bar)])
        corners = np.stack([corners.min(0) - tyre_px, corners.max(0) + tyre_px])
        canvas = Canvas(corners, (self.paint, self.ambient_celsius))
        for outer, inner in rings:
            # From behind a wheel is a line, and a ring would be thinner than the tyre.
            if np.ptp(outer[:, 0]) > 3 * tyre_px:
                canvas.ring(outer, inner, (14.0, 14.0, 14.0), warm)
            else:
                top, bottom = outer[outer[:, 1].argmin()], outer[outer[:, 1].argmax()]
                canvas.limb(top, bottom, (tyre_px, tyre_px), (14.0, 14.0, 14.0), warm)
        tube_px = max(0.045 * scale, 1.0)
        joints = {
            "rear": (-0.53, 0.34),
            "front": (0.53, 0.34),
            "crank": (-0.03, 0.3),
            "seat": (-0.2, 0.82),
            "head": (0.36, 0.8),
        }
        for a, b in (
            ("rear", "crank"),
            ("rear", "seat"),
            ("crank", "seat"),
            ("crank", "head"),
            ("seat", "head"),
            ("front", "head"),
        ):
            canvas.limb(
                at(*joints[a]),
                at(*joints[b]),
                (tube_px, tube_px),
                self.paint,
                self.ambient_celsius + 0.8,
            )
        canvas.limb(
            at(0.36, 0.8),
            at(0.4, 1.02),
            (tube_px, tube_px),
            self.paint,
            self.ambient_celsius + 0.8,
        )
        canvas.limb(
            bar[0],
            bar[1],
            (tube_px, tube_px),
            (30.0, 30.0, 30.0),
            self.ambient_celsius + 1,
        )
        canvas.limb(
            at(-0.32, 0.92),
            at(-0.08, 0.94),
            (0.08 * scale, 0.05 * scale),
            (15.0, 15.0, 15.0),
            warm + 2,
        )
        canvas.limb(
            at(-0.86, 0.45),
            at(-0.84, 0.65),
            (tyre_px, tyre_px),
            (20.0, 20.0, 20.0),
            self.ambient_celsius,
        )
        if self.lamp:
            towards = -np.sin(heading)
            s, colour, glow = (0.45, WHITE_LAMP, 8.0) if towards > 0 else (-0.86, RED_LAMP, 4.0)
            u, v = at(s, 0.85 if towards > 0 else 0.6)
            canvas.lights.append(Light((float(u), float(v)), 0.05 * scale, colour, glow))
        return canvas.sprite()
