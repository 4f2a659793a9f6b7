# SPDX-License-Identifier: Apache-2.0
"""The street without its actors: road, pavements, houses, trees, lamps and sky, as light and as temperature."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from .camera import FloatArray, StreetCamera
from .canvas import Canvas, Colour, Light, Sprite

KERB_SIDE = 4.2
HOUSE_SIDE = 8.5
LAMP_HEIGHT = 5.5


@dataclass(frozen=True)
class Climate:
    """The light and the temperatures of a scene, in degrees Celsius; ``sun`` heats what lies in it."""

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
        warm_lamp = (
            np.array([1.0, 0.78, 0.48])
            if rng.random() < 0.6
            else np.array([0.92, 1.0, 0.98])
        )
        ambient = (
            np.array([0.55, 0.7, 1.0]) * rng.uniform(0.002, 0.012)
            if night
            else np.ones(3) * rng.uniform(0.55, 0.95)
        )
        return Climate(
            night=night,
            air=air,
            road=air + (float(rng.uniform(0, 3)) if night else sun),
            sky=float(rng.uniform(-20, -8)),
            sun=sun,
            ambient_light=ambient,
            lamp_colour=warm_lamp,
            lamp_power=float(0.05 * 7 ** rng.random()) if night else 0.0,
        )


def smooth_noise(
    rng: np.random.Generator, height: int, width: int, cells: int
) -> npt.NDArray[np.float32]:
    """Return noise (height, width) of mean 0 and deviation about 1 whose blobs are 1/cells of the width."""
    rows = max(cells * height // width, 2)
    coarse = rng.standard_normal((rows, cells)).astype(np.float32)
    return np.asarray(
        cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32
    )


class Backdrop:
    """One street: ``rgb`` (H, W, 3) uint8 and ``celsius`` (H, W) float32 without actors, and what stands in front.

    ``occluders`` are sprites with their depth: trunks and poles that hide whoever walks behind them. They are part of
    the pictures already, and are painted again only over an actor.
    """

    def __init__(
        self, camera: StreetCamera, climate: Climate, rng: np.random.Generator
    ) -> None:
        self.camera, self.climate = camera, climate
        self.lamps = self._place_lamps(rng)
        shape = (camera.height_px, camera.width_px)
        side, depth = camera.ground_of_pixels()
        above = ~np.isfinite(depth)
        self._light = self._ground_light(side, depth, above)
        reflectance = np.zeros((*shape, 3), np.float32)
        self.celsius = np.zeros(shape, np.float32)
        self._sky(reflectance, above, rng)
        self._ground(reflectance, side, depth, ~above, rng)
        self._emission = np.zeros((*shape, 3), np.float32)
        self._houses(reflectance, rng)
        lit = reflectance * self._light + self._emission
        self.rgb = self.develop(lit)
        self.occluders = self._street_furniture(rng)

    def light_at(self, x: float, z: float) -> FloatArray:
        """Return the light (3,) on something upright that stands at (x, z)."""
        light = np.array(self.climate.ambient_light, float)
        for lamp_x, lamp_z in self.lamps:
            distance = (x - lamp_x) ** 2 + (z - lamp_z) ** 2 + 0.3 * LAMP_HEIGHT**2
            light += (
                self.climate.lamp_power
                * self.climate.lamp_colour
                * (14.0 / (8.0 + distance))
            )
        return light

    def develop(self, light: FloatArray) -> npt.NDArray[np.uint8]:
        """Return what the RGB camera records of linear light: shoulder, then gamma."""
        return (
            255.0 * (1.0 - np.exp(-1.6 * np.clip(light, 0, None))) ** (1 / 2.2)
        ).astype(np.uint8)

    def _place_lamps(self, rng: np.random.Generator) -> list[tuple[float, float]]:
        first, spacing = rng.uniform(7, 14), rng.uniform(14, 24)
        side = rng.choice([-1.0, 1.0])
        return [
            (float(side * (-1) ** i * (KERB_SIDE + 0.5)), float(first + i * spacing))
            for i in range(4)
        ]

    def _ground_light(
        self, side: FloatArray, depth: FloatArray, above: npt.NDArray[np.bool_]
    ) -> FloatArray:
        light = np.empty((*side.shape, 3), np.float32)
        light[:] = self.climate.ambient_light
        distance_to = np.where(above, 60.0, depth)
        for x, z in self.lamps:
            squared = (side - x) ** 2 + (distance_to - z) ** 2
            pool = self.climate.lamp_power * (14.0 / (8.0 + squared)) ** 1.1
            light += np.where(above, 0.0, pool)[
                ..., None
            ] * self.climate.lamp_colour.astype(np.float32)
        return light

    def _sky(
        self,
        reflectance: FloatArray,
        above: npt.NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> None:
        height, width = above.shape
        rise = np.clip(
            (self.camera.horizon_px - np.arange(height, dtype=np.float32))
            / self.camera.horizon_px,
            0,
            1,
        )
        clouds = smooth_noise(rng, height, width, 7)
        dusk = (0.55 - 0.35 * rise[:, None] + 0.06 * clouds)[..., None]
        if self.climate.night:
            self._light[above] += np.array(
                [0.010, 0.011, 0.016], np.float32
            ) * rng.uniform(0.2, 1.2)
            reflectance[:] = dusk * np.array([0.9, 0.8, 0.9], np.float32)
        else:
            reflectance[:] = (dusk + 0.35) * np.array([0.9, 1.0, 1.2], np.float32)
        self.celsius[:] = (
            self.climate.sky * rise[:, None] ** 0.5
            + self.climate.air * 0.3 * (1 - rise[:, None])
            + clouds
        )

    def _ground(
        self,
        reflectance: FloatArray,
        side: FloatArray,
        depth: FloatArray,
        below: npt.NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> None:
        finite = np.where(below, depth, 1e3).astype(np.float32)
        texture = rng.standard_normal((512, 512)).astype(np.float32)
        coarse = smooth_noise(rng, 512, 512, 24)
        fade = np.clip(9.0 / finite, 0, 1)
        grain = (
            cv2.remap(texture, (side * 40) % 511, (finite * 40) % 511, cv2.INTER_LINEAR)
            * fade
        )
        patches = cv2.remap(
            coarse, (side * 16 + 256) % 511, (finite * 16) % 511, cv2.INTER_LINEAR
        ) * np.sqrt(fade)
        pavement = np.abs(side) > KERB_SIDE
        lawn = np.abs(side) > HOUSE_SIDE - 1.2
        base = np.where(lawn, 0.11, np.where(pavement, 0.30, 0.15)) * (
            1 + 0.16 * grain + 0.12 * patches
        )
        tone = np.where(
            lawn[..., None],
            np.array([0.75, 1.1, 0.5], np.float32),
            np.array([1.0, 0.98, 0.95], np.float32),
        )
        ground = base[..., None].astype(np.float32) * tone
        lines = (np.abs(side) < 0.07) & (finite % 6 < 3)
        lines |= np.abs(np.abs(side) - KERB_SIDE + 0.25) < 0.06
        crossing = rng.uniform(9, 15)
        lines |= (
            (np.abs(side) < KERB_SIDE - 0.4)
            & (np.abs(finite - crossing) < 1.3)
            & (side % 1.0 < 0.5)
        )
        ground[lines] = 0.62
        ground[np.abs(np.abs(side) - KERB_SIDE) < 0.07] = 0.42
        reflectance[below] = ground[below]
        celsius = np.where(
            lawn,
            self.climate.air - 1.5,
            np.where(pavement, self.climate.road - 1.2, self.climate.road),
        )
        celsius = celsius + 0.25 * grain + 0.7 * patches - 0.6 * lines
        # Under a shallow angle the ground mirrors the cold sky.
        celsius = celsius - np.clip(finite - 10, 0, 50) * 0.05
        self.celsius[below] = celsius[below]

    def _houses(self, reflectance: FloatArray, rng: np.random.Generator) -> None:
        end = rng.uniform(55, 75)
        facade = np.array([[-HOUSE_SIDE * 3, 0, end], [HOUSE_SIDE * 3, 0, end]])
        self._wall(reflectance, facade, float(rng.uniform(8, 16)), rng)
        for sign in (-1.0, 1.0):
            z, blocks = 3.2, []
            while z < end:
                length = float(rng.uniform(7, 14))
                blocks.append((z, min(z + length, end), float(rng.uniform(5, 14))))
                z += length + (float(rng.uniform(2, 5)) if rng.random() < 0.5 else 0)
            for start, stop, height in reversed(blocks):
                foot = np.array(
                    [[sign * HOUSE_SIDE, 0, start], [sign * HOUSE_SIDE, 0, stop]]
                )
                self._wall(reflectance, foot, height, rng)

    def _wall(
        self,
        reflectance: FloatArray,
        foot: FloatArray,
        height: float,
        rng: np.random.Generator,
    ) -> None:
        """Draw one wall from its foot line (2, 3), with windows."""
        tone = rng.uniform(0.12, 0.4) * rng.uniform(0.85, 1.12, 3)
        celsius = (
            self.climate.air
            + rng.uniform(0.5, 3.5)
            + 0.5 * self.climate.sun * rng.random()
        )
        along = foot[1] - foot[0]
        length = float(np.linalg.norm(along))

        def patch(s0: float, s1: float, y0: float, y1: float) -> npt.NDArray[np.int32]:
            corners = [
                foot[0] + along * s + np.array([0, y, 0])
                for s, y in ((s0, y0), (s1, y0), (s1, y1), (s0, y1))
            ]
            return np.rint(self.camera.project(np.array(corners))).astype(np.int32)

        mask = np.zeros(self.celsius.shape, np.uint8)
        cv2.fillPoly(mask, [patch(0, 1, 0, height)], 255)
        inside = mask > 0
        middle = foot.mean(axis=0)
        light = self.light_at(float(middle[0]), float(middle[2])) * 0.5
        rows = np.nonzero(inside.any(axis=1))[0]
        if not len(rows):
            return
        weave = smooth_noise(rng, *self.celsius.shape, 90)
        reflectance[inside] = (tone * (1 + 0.10 * weave[inside][:, None])).astype(
            np.float32
        )
        fall = np.linspace(0.35, 1.0, len(rows), dtype=np.float32)
        falloff = np.ones(self.celsius.shape[0], np.float32)
        falloff[rows] = fall
        self._light[inside] = (
            light * np.repeat(falloff[:, None], inside.shape[1], 1)[inside][:, None]
        ).astype(np.float32)
        self.celsius[inside] = celsius + 0.5 * weave[inside]
        for storey in np.arange(1.0, height - 1.6, 2.9):
            for s in np.arange(0.9, length - 1.5, 2.4):
                window = patch(s / length, (s + 1.1) / length, storey, storey + 1.4)
                lit = self.climate.night and rng.random() < 0.16
                cv2.fillPoly(reflectance, [window], (0.05, 0.055, 0.06))
                # Glass mirrors the cold sky; behind a lit one somebody heats.
                cv2.fillPoly(
                    self.celsius,
                    [window],
                    float(celsius - 2.0 + rng.normal(0, 0.7) + (3.0 if lit else 0.0)),
                )
                if lit:
                    warm = np.array([1.0, 0.8, 0.5]) * rng.uniform(0.15, 0.7)
                    cv2.fillPoly(
                        self._emission, [window], tuple(float(c) for c in warm)
                    )

    def _street_furniture(self, rng: np.random.Generator) -> list[tuple[float, Sprite]]:
        items: list[tuple[float, Sprite]] = []
        for x, z in self.lamps:
            items.append((z, self._lamp_post(x, z)))
        for sign in (-1.0, 1.0):
            for z in np.arange(rng.uniform(8, 14), 50, rng.uniform(9, 16)):
                if rng.random() < 0.75:
                    items.append(
                        (
                            float(z),
                            self._tree(float(sign * (KERB_SIDE + 1.1)), float(z), rng),
                        )
                    )
        return sorted(items, key=lambda item: -item[0])

    def _lamp_post(self, x: float, z: float) -> Sprite:
        scale = self.camera.pixels_per_metre(z)
        arm = -np.sign(x) * 1.2
        foot, head, tip = self.camera.project(
            np.array([[x, 0, z], [x, LAMP_HEIGHT, z], [x + arm, LAMP_HEIGHT + 0.2, z]])
        )
        corners = np.stack([foot, head, tip])
        width = max(0.12 * scale, 1.2)
        canvas = Canvas(
            np.stack([corners.min(0) - 4 - width, corners.max(0) + 4 + width]),
            ((70.0, 72.0, 75.0), self.climate.air),
        )
        canvas.limb(
            foot, head, (width * 1.3, width), (70.0, 72.0, 75.0), self.climate.air + 0.5
        )
        canvas.limb(
            head, tip, (width, width), (70.0, 72.0, 75.0), self.climate.air + 0.5
        )
        burning = 18.0 if self.climate.night else 0.5
        canvas.ellipse(
            tip,
            (0.3 * scale, 0.1 * scale),
            (90.0, 90.0, 90.0),
            self.climate.air + burning,
        )
        if self.climate.night:
            r, g, b = (float(c) * 255 for c in self.climate.lamp_colour)
            canvas.lights.append(
                Light((float(tip[0]), float(tip[1])), 0.16 * scale, (r, g, b), 11.0)
            )
        return canvas.sprite()

    def _tree(self, x: float, z: float, rng: np.random.Generator) -> Sprite:
        scale = self.camera.pixels_per_metre(z)
        height = float(rng.uniform(2.6, 3.4))
        foot, fork = self.camera.project(np.array([[x, 0, z], [x, height, z]]))
        crown = np.array(
            [
                fork + rng.normal(0, 1, 2) * (0.8, 0.6) * scale - (0, 0.9 * scale)
                for _ in range(26)
            ]
        )
        sizes = rng.uniform(0.35, 0.75, len(crown)) * scale
        reach = float(sizes.max()) + 3
        corners = np.vstack([crown - reach, crown + reach, foot, fork])
        bark: Colour = (62.0, 50.0, 40.0)
        canvas = Canvas(corners, (bark, self.climate.air))
        canvas.limb(
            foot, fork, (0.34 * scale, 0.24 * scale), bark, self.climate.air + 1.8
        )
        for centre, size in zip(crown, sizes, strict=True):
            shade = float(rng.uniform(0.5, 1.0))
            leaf = (48 * shade, 75 * shade, 32 * shade)
            canvas.ellipse(
                centre,
                (float(size), float(size * 0.75)),
                leaf,
                self.climate.air - 1 + float(rng.normal(0, 0.5)),
            )
        return canvas.sprite()
