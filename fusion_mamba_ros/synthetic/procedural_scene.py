# SPDX-License-Identifier: Apache-2.0
"""Render a procedural street at night or by day for an RGB, a thermal and a depth camera, with ground-truth boxes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.synthetic.scene_frame import SceneFrame
from fusion_mamba_ros.synthetic.street.backdrop import Backdrop
from fusion_mamba_ros.synthetic.street.camera import StreetCamera
from fusion_mamba_ros.synthetic.street.canvas import Sprite
from fusion_mamba_ros.synthetic.street.climate import Climate
from fusion_mamba_ros.synthetic.street.images import CameraImages
from fusion_mamba_ros.synthetic.street.layers import develop, smooth_noise
from fusion_mamba_ros.synthetic.street.sensors import RgbSensor, ThermalSensor
from fusion_mamba_ros.synthetic.street.traffic import CAR, FARTHEST, NEAREST, populate

CLASS_NAMES = ("person", "bicycle", "car")
MODALITIES = ("rgb", "thermal", "depth")

_MIN_VISIBLE_SHARE = 0.3
_MIN_WIDTH_PX, _MIN_HEIGHT_PX = 5, 10


class ProceduralScene:
    """Render a street scene from ``seed``; the same seed and frame index always give the same pair.

    At night the RGB camera sees lamps, lit windows and their surroundings, but hardly any people. The thermal camera
    sees objects that are warmer or colder than the street, but no cars that have cooled down. So neither camera sees
    every object. Every object gets a box, even if only one camera shows it, unless other objects hide more than 70
    percent of its area inside the image. Boxes are clipped to the image. A partly hidden object keeps its full box.
    Boxes smaller than 5 x 10 pixels are left out.

    ``rgb_size`` and ``thermal_size`` are (width, height) in pixels; ``rgb_size`` should be 4:3. With ``radiometric``
    the thermal image is uint16 in hundredths of a kelvin. Otherwise it is uint8 over a fixed temperature range of the
    scene. ``modalities`` are the rendered images, out of rgb, thermal and depth. The depth image is uint16 in
    millimetres along the axis of the RGB camera (65535 beyond 65 m) and matches RGB pixel for pixel.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        night: bool = True,
        frames_per_second: float = 30.0,
        rgb_size: tuple[int, int] = (640, 480),
        thermal_size: tuple[int, int] = (640, 512),
        radiometric: bool = False,
        modalities: tuple[str, ...] = ("rgb", "thermal"),
    ) -> None:
        if frames_per_second <= 0:
            raise ValueError(f"frames_per_second is {frames_per_second}: give a rate above 0")
        if not modalities or set(modalities) - set(MODALITIES):
            raise ValueError(f"modalities are {', '.join(modalities)}: a scene has {', '.join(MODALITIES)}")
        self.modalities = tuple(modalities)
        rng = np.random.default_rng([seed, 0 if night else 1])
        zoom = rgb_size[0] / 640
        self.seed, self.night, self.frames_per_second = seed, night, frames_per_second
        self.rgb_size = rgb_size
        self.camera = StreetCamera(
            width_px=rgb_size[0],
            height_px=rgb_size[1],
            focal_px=zoom * float(rng.uniform(480, 720)),
            height=float(rng.uniform(1.4, 2.5)),
            side=float(rng.uniform(-2.4, 2.4)),
            horizon_px=rgb_size[1] * float(rng.uniform(0.36, 0.46)),
        )
        self.climate = Climate.random(rng, night=night)
        self.backdrop = Backdrop(self.camera, self.climate, rng)
        self.actors = populate(self.backdrop, rng)
        # One pattern per actor, which moves with it: the temperature of clothes varies more than that of metal.
        unevenness = [0.25 if actor.label == CAR else 1.0 for actor in self.actors]
        self._patterns = [share * smooth_noise(rng, 24, 24, 8) for share in unevenness]
        self._rgb_sensor = RgbSensor(rng, night=night)
        self._thermal_sensor = ThermalSensor(rng, self.backdrop, size=thermal_size, radiometric=radiometric)
        empty = CameraImages(self.backdrop.rgb, self.backdrop.celsius, self.backdrop.distance)
        for depth, occluder in self.backdrop.occluders:
            empty.paint(occluder, self._recorded(occluder), depth)

    def render(self, frame_index: int) -> SceneFrame:
        """Return the frame at ``frame_index`` with its boxes; frames can be rendered in any order."""
        painted = CameraImages(self.backdrop.rgb.copy(), self.backdrop.celsius.copy(), self.backdrop.distance.copy())
        extents: dict[int, _Extent] = {}
        occluders = list(self.backdrop.occluders)
        for index, depth, sprite in self._sprites(frame_index / self.frames_per_second):
            while occluders and occluders[0][0] > depth:
                distance, occluder = occluders.pop(0)
                painted.cover(occluder, self._recorded(occluder), distance)
            extents[index] = _Extent.of(sprite, self.rgb_size)
            painted.paint(
                sprite,
                self._recorded(sprite),
                depth,
                actor=index,
                pattern=self._patterns[index],
            )
        for distance, occluder in occluders:
            painted.cover(occluder, self._recorded(occluder), distance)

        boxes, actors = self._boxes(painted.owner, extents)
        passages = [self.actors[index].place(frame_index / self.frames_per_second).passage for index in actors]
        rng = np.random.default_rng([self.seed, frame_index])
        # Record all images, even those not in `modalities`: they share the random numbers of the frame.
        images = {
            "rgb": self._rgb_sensor.record(painted.rgb, rng),
            "thermal": self._thermal_sensor.record(painted.celsius, rng),
            "depth": np.minimum(painted.distance * 1000, 65535).astype(np.uint16),
        }
        return SceneFrame(
            name=f"{'night' if self.night else 'day'}_{self.seed}_{frame_index:06d}",
            images={name: images[name] for name in self.modalities},
            boxes=boxes,
            labels=np.array([self.actors[index].label for index in actors], np.int64),
            identities=np.array(actors, np.int64) + len(self.actors) * np.array(passages, np.int64),
            group="night" if self.night else "day",
        )

    def _sprites(self, seconds: float) -> list[tuple[int, float, Sprite]]:
        """Return (actor index, depth, sprite) of the actors in front of the camera, farthest first."""
        drawn = []
        for index, actor in enumerate(self.actors):
            place = actor.place(seconds)
            if NEAREST < place.z < FARTHEST and abs(self.camera.project(np.array([place.x, 1, place.z]))[0]) < 4000:
                sprite = actor.draw(self.camera, place)
                # A rider follows its bicycle in the list and has the same position: the index breaks the tie.
                drawn.append((index, place.z - 1e-4 * index, sprite))
        return sorted(drawn, key=lambda item: -item[1])

    def _recorded(self, sprite: Sprite) -> npt.NDArray[np.uint8]:
        """Return a table (256, 3) of the RGB values that the camera records for each reflectance byte of the sprite."""
        foot_px = max(sprite.top + sprite.coverage.shape[0] - 2 - self.camera.horizon_px, 1.0)
        depth = self.camera.focal_px * self.camera.height / foot_px
        across_px = sprite.left + sprite.coverage.shape[1] / 2 - self.camera.width_px / 2
        light = self.backdrop.light_at(
            float(self.camera.side + across_px * depth / self.camera.focal_px),
            float(depth),
        )
        reflectance = (np.arange(256, dtype=np.float32)[:, None] / 255) ** 1.8
        return develop(reflectance * light)

    def _boxes(
        self, owner: npt.NDArray[np.int16], extents: dict[int, _Extent]
    ) -> tuple[npt.NDArray[np.float32], list[int]]:
        """Return the boxes (n, 4) of the visible actors and the indices of these actors."""
        shown = np.bincount(owner.ravel() + 1, minlength=len(self.actors) + 1)[1:]
        boxes, actors = [], []
        for index, extent in extents.items():
            x0, y0, x1, y1 = extent.box
            large = x1 - x0 >= _MIN_WIDTH_PX and y1 - y0 >= _MIN_HEIGHT_PX
            if large and shown[index] >= _MIN_VISIBLE_SHARE * extent.area_px:
                boxes.append(extent.box)
                actors.append(index)
        return np.array(boxes, np.float32).reshape(-1, 4), actors


@dataclass(frozen=True)
class _Extent:
    """Part of a sprite inside the image: number of pixels and bounding box x0 y0 x1 y1."""

    area_px: int
    box: tuple[float, float, float, float]

    @staticmethod
    def of(sprite: Sprite, image_size: tuple[int, int]) -> _Extent:
        """Return the extent of a sprite in an image of (width, height)."""
        x0, y0 = max(-sprite.left, 0), max(-sprite.top, 0)
        solid = (
            sprite.coverage[
                y0 : max(image_size[1] - sprite.top, 0),
                x0 : max(image_size[0] - sprite.left, 0),
            ]
            > 127
        )
        area = int(np.count_nonzero(solid))
        if not area:
            return _Extent(0, (0.0, 0.0, 0.0, 0.0))
        x, y, w, h = cv2.boundingRect(solid.view(np.uint8))
        left, top = float(sprite.left + x0 + x), float(sprite.top + y0 + y)
        return _Extent(area, (left, top, left + w, top + h))
