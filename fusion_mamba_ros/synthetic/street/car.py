# SPDX-License-Identifier: Apache-2.0
"""A car, drawn from its three-dimensional shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fusion_mamba_ros.synthetic.street.camera import FloatArray, StreetCamera, in_world
from fusion_mamba_ros.synthetic.street.canvas import RED_LAMP, WHITE_LAMP, Canvas, Colour, Light, Sprite, shaded
from fusion_mamba_ros.synthetic.street.car_wheels import CarWheels


@dataclass(frozen=True)
class Car:
    """How one car looks. ``warmth`` 0 = at the temperature of the street, 1 = driven for long; sizes in metres."""

    length: float
    width: float
    height: float
    bonnet: float
    paint: Colour
    warmth: float
    body_celsius: float
    sky_celsius: float
    lamps: bool

    @staticmethod
    def random(
        rng: np.random.Generator,
        ambient_celsius: float,
        sky_celsius: float,
        *,
        warm: bool,
        lamps: bool,
        sun: float,
    ) -> Car:
        """Return a car drawn from ``rng``; ``sun`` in degrees heats its body above the air."""
        grey = rng.uniform(20, 225)
        paint = rng.uniform(0.85, 1.1, 3) * grey if rng.random() < 0.65 else rng.uniform(15, 200, 3)
        van = rng.random() < 0.2
        return Car(
            length=float(rng.uniform(4.4, 5.2) if van else rng.uniform(3.8, 4.7)),
            width=float(rng.uniform(1.7, 1.9)),
            height=float(rng.uniform(1.75, 2.1) if van else rng.uniform(1.42, 1.6)),
            bonnet=float(0.5 if van else rng.uniform(1.0, 1.25)),
            paint=(float(paint[0]), float(paint[1]), float(paint[2])),
            warmth=float(rng.uniform(0.55, 1.0)) if warm else 0.0,
            body_celsius=ambient_celsius + (rng.uniform(0.4, 1.0) * sun if sun else rng.normal(0, 0.3)),
            sky_celsius=sky_celsius,
            lamps=lamps,
        )

    def draw(self, camera: StreetCamera, x: float, z: float, heading: float) -> Sprite:
        """Return the car whose middle stands at (x, z); ``heading`` in radians, pi/2 = away from the camera."""
        half = self.length / 2
        waist, floor, roof = 0.62 * self.height, 0.2, self.height
        nose = waist * 0.86
        lower = {
            "bottom_front": (half, floor), "bottom_rear": (-half, floor),
            "top_front": (half - 0.1, nose), "cowl": (half - self.bonnet, waist), "top_rear": (-half + 0.06, waist),
        }  # fmt: skip
        cabin = {
            "cowl": (half - self.bonnet, waist), "roof_front": (half - self.bonnet - 0.75, roof),
            "roof_rear": (-half + 0.55, roof), "tail": (-half + 0.1, waist),
        }  # fmt: skip
        inset = 0.17
        points: dict[str, FloatArray] = {}
        for side, sign in (("left", 1.0), ("right", -1.0)):
            for name, (s, up) in lower.items():
                points[f"{side}_{name}"] = np.array([s, sign * self.width / 2, up])
            for name, (s, up) in cabin.items():
                narrow = inset if up == roof else 0.04
                points[f"{side}_cabin_{name}"] = np.array([s, sign * (self.width / 2 - narrow), up])

        def to_pixels(metres: FloatArray) -> FloatArray:
            return camera.project(in_world(metres, x, z, heading))

        pixels = {name: to_pixels(point) for name, point in points.items()}
        scale = camera.pixels_per_metre(z)
        shell = np.stack(list(pixels.values()))
        ground = to_pixels(np.array([[half, 0, 0], [-half, 0, 0]]))
        canvas = Canvas(np.concatenate([shell, ground]), (self.paint, self.body_celsius))

        # The camera's place in the car's own axes says which faces it sees.
        away = np.array([camera.side - x, -z])
        ahead = float(away @ [np.cos(heading), np.sin(heading)])
        leftward = float(away @ [-np.sin(heading), np.cos(heading)])
        side = "left" if leftward > 0 else "right"
        sees_side = abs(leftward) > self.width / 2
        sees_front, sees_rear = ahead > half, ahead < -half
        wheels = CarWheels(self.length, self.width, self.body_celsius, self.warmth)

        dark = (12.0, 12.0, 13.0)
        under = [
            pixels[f"{s}_{n}"]
            for s, n in (
                ("left", "bottom_front"),
                ("right", "bottom_front"),
                ("right", "bottom_rear"),
                ("left", "bottom_rear"),
            )
        ]
        canvas.polygon(np.array(under), dark, self.body_celsius + 7 * self.warmth)
        if sees_side:
            wheels.draw_far(canvas, to_pixels, "right" if side == "left" else "left")
        self._top(canvas, pixels)
        if sees_side:
            self._side(canvas, pixels, side)
            wheels.draw_near(canvas, to_pixels, side)
        if sees_front:
            self._face(canvas, pixels, "front", scale)
        if sees_rear:
            self._face(canvas, pixels, "rear", scale)
        self._cabin(canvas, pixels, side if sees_side else "", sees_front, sees_rear)
        if self.lamps:
            self._lamps(canvas, pixels, sees_front, sees_rear, scale)
        return canvas.sprite()

    def _tint(self, factor: float) -> Colour:
        return shaded(self.paint, factor)

    def _top(self, canvas: Canvas, p: dict[str, FloatArray]) -> None:
        bonnet = np.array([p["left_top_front"], p["left_cowl"], p["right_cowl"], p["right_top_front"]])
        canvas.polygon(bonnet, self._tint(1.08), self.body_celsius + 11 * self.warmth)
        boot = np.array([p["left_cowl"], p["left_top_rear"], p["right_top_rear"], p["right_cowl"]])
        canvas.polygon(boot, self._tint(1.0), self.body_celsius + 1.5 * self.warmth)

    def _side(self, canvas: Canvas, p: dict[str, FloatArray], side: str) -> None:
        names = ("bottom_front", "top_front", "cowl", "top_rear", "bottom_rear")
        canvas.polygon(
            np.array([p[f"{side}_{n}"] for n in names]),
            self._tint(0.8),
            self.body_celsius + 1.5 * self.warmth,
        )
        front = np.array([p[f"{side}_{n}"] for n in ("bottom_front", "top_front", "cowl")])
        foot = p[f"{side}_bottom_front"] + (p[f"{side}_bottom_rear"] - p[f"{side}_bottom_front"]) * 0.28
        canvas.polygon(
            np.vstack([front, foot]),
            self._tint(0.82),
            self.body_celsius + 6 * self.warmth,
        )
        sill = [p[f"{side}_bottom_front"], p[f"{side}_bottom_rear"]]
        canvas.limb(
            sill[0],
            sill[1],
            (1.5, 1.5),
            self._tint(0.35),
            self.body_celsius + 4 * self.warmth,
        )

    def _face(self, canvas: Canvas, p: dict[str, FloatArray], end: str, scale: float) -> None:
        corners = np.array(
            [
                p[f"left_bottom_{end}"],
                p[f"left_top_{end}"],
                p[f"right_top_{end}"],
                p[f"right_bottom_{end}"],
            ]
        )
        heat = 8 if end == "front" else 3
        canvas.polygon(corners, self._tint(0.9), self.body_celsius + heat * self.warmth)
        left, top, right, bottom = (
            corners[1],
            corners[1:3].mean(axis=0),
            corners[2],
            corners[[0, 3]].mean(axis=0),
        )
        across, down = right - left, bottom - top
        band = np.array([top - 0.3 * across + 0.28 * down, top + 0.3 * across + 0.28 * down,
                         top + 0.3 * across + 0.62 * down, top - 0.3 * across + 0.62 * down])  # fmt: skip
        if end == "front":
            canvas.polygon(band, (18.0, 18.0, 20.0), self.body_celsius + 20 * self.warmth)
        plate = np.array([top - 0.13 * across + 0.66 * down, top + 0.13 * across + 0.66 * down,
                          top + 0.13 * across + 0.82 * down, top - 0.13 * across + 0.82 * down])  # fmt: skip
        canvas.polygon(plate, (205.0, 205.0, 190.0), self.body_celsius + 1)
        for sign in (-1, 1):
            lamp = top + sign * 0.4 * across + 0.25 * down
            size = (0.085 * float(np.hypot(*across)), 0.13 * float(np.hypot(*down)))
            colour = (200.0, 200.0, 205.0) if end == "front" else (120.0, 15.0, 12.0)
            canvas.ellipse(lamp, size, colour, self.body_celsius + (9 if self.lamps else 0.5))
        if end == "rear" and self.warmth:
            exhaust = bottom + 0.3 * across
            canvas.ellipse(
                exhaust,
                (0.07 * scale, 0.05 * scale),
                (25.0, 25.0, 25.0),
                self.body_celsius + 30 * self.warmth,
            )

    def _cabin(
        self,
        canvas: Canvas,
        p: dict[str, FloatArray],
        side: str,
        front: bool,
        rear: bool,
    ) -> None:
        # Glass is dark to the thermal camera: it mirrors the cold sky, less so the flatter the view.
        glass_celsius = 0.7 * self.body_celsius + 0.3 * self.sky_celsius + 3 * self.warmth
        glass = (26.0, 30.0, 34.0)
        roof = [
            p[f"{s}_cabin_{n}"]
            for s, n in (
                ("left", "roof_front"),
                ("right", "roof_front"),
                ("right", "roof_rear"),
                ("left", "roof_rear"),
            )
        ]
        body = self.body_celsius + 1.2 * self.warmth
        for visible, ends in (
            (rear, ("tail", "roof_rear")),
            (front, ("cowl", "roof_front")),
        ):
            if visible:
                pane = np.array(
                    [
                        p[f"left_cabin_{ends[0]}"],
                        p[f"left_cabin_{ends[1]}"],
                        p[f"right_cabin_{ends[1]}"],
                        p[f"right_cabin_{ends[0]}"],
                    ]
                )
                canvas.polygon(pane, self._tint(0.85), body)
                canvas.polygon(
                    pane.mean(axis=0) + (pane - pane.mean(axis=0)) * 0.86,
                    glass,
                    glass_celsius,
                )
        if side:
            outline = np.array([p[f"{side}_cabin_{n}"] for n in ("cowl", "roof_front", "roof_rear", "tail")])
            canvas.polygon(outline, self._tint(0.75), body)
            middle = outline.mean(axis=0)
            window = middle + (outline - middle) * (0.86, 0.78)
            canvas.polygon(window, glass, glass_celsius + 1)
            pillar = (window[1] + window[2]) / 2, (window[0] + window[3]) / 2
            width = 0.03 * float(np.hypot(*(outline[0] - outline[3])))
            canvas.limb(pillar[0], pillar[1], (width, width), self._tint(0.7), body)
        canvas.polygon(np.array(roof), self._tint(1.05), 0.8 * body + 0.2 * self.sky_celsius)

    def _lamps(
        self,
        canvas: Canvas,
        p: dict[str, FloatArray],
        front: bool,
        rear: bool,
        scale: float,
    ) -> None:
        for visible, end, colour, glow in (
            (front, "front", WHITE_LAMP, 9.0),
            (rear, "rear", RED_LAMP, 4.0),
        ):
            if not visible:
                continue
            left, right = p[f"left_top_{end}"], p[f"right_top_{end}"]
            drop = (p[f"left_bottom_{end}"] - left) * 0.25
            for share in (0.1, 0.9):
                u, v = left + (right - left) * share + drop
                canvas.lights.append(Light((float(u), float(v)), 0.085 * scale, colour, glow))
