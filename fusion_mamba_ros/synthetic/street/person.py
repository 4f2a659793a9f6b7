# SPDX-License-Identifier: Apache-2.0
"""Person who walks, stands or cycles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fusion_mamba_ros.synthetic.street.camera import FloatArray, StreetCamera, in_world
from fusion_mamba_ros.synthetic.street.canvas import Canvas, Colour, Sprite, shaded

SKIN_CELSIUS = 33.0


@dataclass(frozen=True)
class Person:
    """Appearance of one person; ``height`` in metres.

    ``insulation`` is from 0 (shirt) to 1 (heavy coat, which hides the body heat).
    """

    height: float
    stoutness: float
    top: Colour
    trousers: Colour
    skin: Colour
    hair: Colour
    insulation: float
    coat: bool
    backpack: bool
    ambient_celsius: float

    @staticmethod
    def random(rng: np.random.Generator, ambient_celsius: float) -> Person:
        """Return a random person; most wear dark clothes."""
        dark = rng.uniform(8, 70, 3)
        bright = rng.uniform(40, 230, 3)
        top = bright if rng.random() < 0.4 else dark
        skin = np.array([225.0, 180.0, 150.0]) * rng.uniform(0.35, 1.0)
        return Person(
            height=float(np.clip(rng.normal(1.72, 0.11), 1.2, 1.98)),
            stoutness=float(rng.uniform(0.85, 1.25)),
            top=_colour(top),
            trousers=_colour(rng.uniform(8, 80) * np.array([0.9, 0.95, 1.15])),
            skin=_colour(skin),
            hair=_colour(rng.uniform(8, 90) * np.array([1.2, 1.0, 0.8])),
            insulation=float(rng.uniform(0.15, 0.85)),
            coat=bool(rng.random() < 0.35),
            backpack=bool(rng.random() < 0.25),
            ambient_celsius=ambient_celsius,
        )

    def warmth(self, share: float) -> float:
        """Return the surface temperature at ``share`` of the way from air temperature (0) to skin temperature (1)."""
        return self.ambient_celsius + (SKIN_CELSIUS - self.ambient_celsius) * share

    def draw(
        self,
        camera: StreetCamera,
        x: float,
        z: float,
        heading: float,
        stride: float,
        *,
        cycling: bool = False,
    ) -> Sprite:
        """Return the sprite of the person at ground point (x, z) in metres.

        ``heading`` is in radians: 0 = to the right, pi/2 = away from the camera. ``stride`` is the phase of the step in
        radians, or nan for a standing person. With ``cycling`` the person sits and ``stride`` is the phase of the
        pedals.
        """
        joints = _cycling_joints(stride) if cycling else _walking_joints(stride)
        shell = camera.project(in_world(np.array(list(joints.values())) * self.height, x, z, heading))
        points = dict(zip(joints, shell, strict=True))
        scale = camera.pixels_per_metre(z)
        margin = 0.17 * scale
        corners = np.stack([shell.min(axis=0) - margin, shell.max(axis=0) + margin])
        clothes = self.warmth(0.75 - 0.5 * self.insulation)
        canvas = Canvas(corners, (self.top, clothes))

        thick = scale * self.stoutness * self.height / 1.72
        legs = self.warmth(0.62 - 0.25 * self.insulation)
        facing_away = float(np.sin(heading))
        near, far = ("left", "right") if np.cos(heading) > 0 else ("right", "left")
        self._arm(canvas, points, far, thick, clothes)
        self._leg(canvas, points, far, thick, legs)
        self._leg(canvas, points, near, thick, legs)
        self._torso(canvas, points, thick, clothes, facing_away)
        self._head(canvas, points, scale, facing_away)
        self._arm(canvas, points, near, thick, clothes)
        return canvas.sprite()

    def _leg(
        self,
        canvas: Canvas,
        p: dict[str, FloatArray],
        side: str,
        thick: float,
        celsius: float,
    ) -> None:
        canvas.limb(
            p[f"{side}_hip"],
            p[f"{side}_knee"],
            (0.17 * thick, 0.125 * thick),
            self.trousers,
            celsius,
        )
        canvas.limb(
            p[f"{side}_knee"],
            p[f"{side}_ankle"],
            (0.125 * thick, 0.085 * thick),
            self.trousers,
            celsius - 1.5,
        )
        shoe = shaded(self.trousers, 0.5)
        canvas.limb(
            p[f"{side}_ankle"],
            p[f"{side}_toe"],
            (0.09 * thick, 0.07 * thick),
            shoe,
            self.warmth(0.3),
        )

    def _arm(
        self,
        canvas: Canvas,
        p: dict[str, FloatArray],
        side: str,
        thick: float,
        celsius: float,
    ) -> None:
        shade = shaded(self.top, 0.85)
        canvas.limb(
            p[f"{side}_shoulder"],
            p[f"{side}_elbow"],
            (0.12 * thick, 0.1 * thick),
            shade,
            celsius - 1,
        )
        canvas.limb(
            p[f"{side}_elbow"],
            p[f"{side}_hand"],
            (0.1 * thick, 0.075 * thick),
            shade,
            celsius - 2,
        )
        canvas.ellipse(
            p[f"{side}_hand"],
            (0.045 * thick, 0.05 * thick),
            self.skin,
            self.warmth(0.88),
        )

    def _torso(
        self,
        canvas: Canvas,
        p: dict[str, FloatArray],
        thick: float,
        celsius: float,
        away: float,
    ) -> None:
        left, right = p["left_shoulder"], p["right_shoulder"]
        hip_left, hip_right = p["left_hip"], p["right_hip"]
        # Seen from the side both shoulders coincide. This bar gives the torso the depth of the chest.
        canvas.limb(
            (left + right) / 2,
            (hip_left + hip_right) / 2,
            (0.27 * thick, 0.25 * thick),
            self.top,
            celsius,
        )
        for shoulder, hip in ((left, hip_left), (right, hip_right)):
            canvas.limb(shoulder, hip, (0.15 * thick, 0.17 * thick), self.top, celsius)
        canvas.polygon(np.array([left, right, hip_right, hip_left]), self.top, celsius)
        canvas.ellipse(
            (left + right) / 2 + (0, 0.13 * thick),
            (0.09 * thick, 0.12 * thick),
            self.top,
            celsius + 1.5,
        )
        if self.coat:
            knees = (p["left_knee"] + p["right_knee"]) / 2
            middle = (hip_left + hip_right) / 2
            canvas.limb(
                middle,
                middle + (knees - middle) * 0.75,
                (0.34 * thick, 0.42 * thick),
                self.top,
                celsius - 2,
            )
        if self.backpack:
            back = (left + right) / 2 + (0, 0.2 * thick) - (p["forward"] - p["origin"]) * 0.55
            strength = self.warmth(0.12)
            if away > -0.3:
                canvas.ellipse(
                    back,
                    (0.15 * thick, 0.21 * thick),
                    shaded(self.trousers, 0.6),
                    strength,
                )

    def _head(self, canvas: Canvas, p: dict[str, FloatArray], scale: float, away: float) -> None:
        size = scale * self.height / 1.72
        canvas.limb(
            p["neck"],
            p["head"],
            (0.11 * size, 0.11 * size),
            self.skin,
            self.warmth(0.92),
        )
        canvas.ellipse(p["head"], (0.088 * size, 0.122 * size), self.hair, self.warmth(0.66))
        face = p["head"] + (p["forward"] - p["origin"]) * 0.2 + (0, 0.025 * size)
        share = float(np.clip(0.62 - 0.6 * away, 0.0, 1.0))
        if share > 0.1:
            canvas.ellipse(
                face,
                (0.074 * size * share**0.5, 0.09 * size),
                self.skin,
                self.warmth(0.97),
            )


def _colour(values: FloatArray) -> Colour:
    r, g, b = (float(v) for v in np.clip(values, 0, 255))
    return (r, g, b)


def _walking_joints(stride: float) -> dict[str, FloatArray]:
    standing = bool(np.isnan(stride))
    phase = 0.0 if standing else stride
    swing = 0.0 if standing else 0.42
    joints: dict[str, FloatArray] = {}
    bob = 0.0 if standing else 0.008 * np.cos(2 * phase)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        thigh = swing * np.sin(phase) * sign
        # The knee bends while the leg swings forward.
        shin = thigh - (0.0 if standing else 0.12 + 0.75 * max(0.0, np.cos(phase) * sign))
        hip = np.array([0.0, 0.055 * sign, 0.52 + bob])
        knee = hip + 0.245 * np.array([np.sin(thigh), 0, -np.cos(thigh)])
        ankle = knee + 0.24 * np.array([np.sin(shin), 0, -np.cos(shin)])
        ankle[2] = max(ankle[2], 0.03)
        toe = ankle + [0.075, 0.01 * sign, -0.012]
        arm = -0.9 * thigh + 0.05
        shoulder = np.array([0.0, 0.115 * sign, 0.81 + bob])
        elbow = shoulder + 0.17 * np.array([np.sin(arm), 0.12 * sign, -np.cos(arm)])
        hand = elbow + 0.16 * np.array([np.sin(arm + 0.35), 0.02 * sign, -np.cos(arm + 0.35)])
        joints |= _side(side, hip, knee, ankle, toe, shoulder, elbow, hand)
    joints |= {
        "neck": np.array([0.0, 0, 0.84 + bob]),
        "head": np.array([0.012, 0, 0.93 + bob]),
    }
    joints |= {"origin": np.zeros(3), "forward": np.array([0.2, 0, 0.0])}
    return joints


def _cycling_joints(stride: float) -> dict[str, FloatArray]:
    joints: dict[str, FloatArray] = {}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        pedal = stride + (0 if sign > 0 else np.pi)
        hip = np.array([-0.12, 0.05 * sign, 0.56])
        ankle = np.array([0.0 + 0.1 * np.cos(pedal), 0.06 * sign, 0.19 + 0.1 * np.sin(pedal)])
        knee = _knee(hip, ankle, 0.245, 0.24)
        toe = ankle + [0.07, 0, -0.015]
        shoulder = np.array([0.08, 0.11 * sign, 0.84])
        hand = np.array([0.29, 0.13 * sign, 0.60])
        elbow = (shoulder + hand) / 2 + [-0.01, 0.03 * sign, -0.04]
        joints |= _side(side, hip, knee, ankle, toe, shoulder, elbow, hand)
    joints |= {"neck": np.array([0.1, 0, 0.87]), "head": np.array([0.14, 0, 0.95])}
    joints |= {"origin": np.zeros(3), "forward": np.array([0.2, 0, 0.0])}
    return joints


def _side(side: str, *joints: FloatArray) -> dict[str, FloatArray]:
    names = ("hip", "knee", "ankle", "toe", "shoulder", "elbow", "hand")
    return {f"{side}_{name}": joint for name, joint in zip(names, joints, strict=True)}


def _knee(hip: FloatArray, ankle: FloatArray, thigh: float, shin: float) -> FloatArray:
    """Return the knee in front of the line from hip to ankle, from both bone lengths by the law of cosines."""
    line = ankle - hip
    distance = min(float(np.linalg.norm(line)), thigh + shin - 1e-4)
    along = (thigh**2 - shin**2 + distance**2) / (2 * distance)
    out = np.sqrt(max(thigh**2 - along**2, 0.0))
    unit = line / np.linalg.norm(line)
    knee: FloatArray = hip + along * unit + out * np.array([-unit[2], 0, unit[0]])
    return knee
